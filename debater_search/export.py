"""Export encoders for other programs: `export("debater-small", "exported/small", "sentence-transformers")`."""

from debater_search.encoder.export import FORMATS, Format, export

__all__ = ["FORMATS", "Format", "export"]
