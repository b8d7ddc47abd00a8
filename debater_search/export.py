"""Export encoders for other programs: `export("debater-mini", "exported/mini", "sentence-transformers")`."""

from debater_search.encoder.export import FORMATS, Format, export

__all__ = ["FORMATS", "Format", "export"]
