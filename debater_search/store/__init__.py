"""All that lies on disk: documents (SQLite), embeddings (Parquet), manifests. No torch; no pyarrow until used."""
