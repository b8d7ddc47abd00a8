"""Settings of a stage from YAML or JSON files and from the command line, and what is wrong with them."""

from debater_search.config.loading import beside, load_settings, read_mapping

__all__ = ["beside", "load_settings", "read_mapping"]
