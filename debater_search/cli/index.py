"""`debater index`: a corpus in, an index folder out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from debater_search.cli.change import moved_encoder, patience, show_change
from debater_search.cli.index_option import found_index
from debater_search.cli.info import show_facts, show_summary
from debater_search.cli.options import (
    INDEXES,
    TEXTS,
    Attention,
    BaseModel,
    Columns,
    Device,
    Force,
    Json,
    Model,
    Pooling,
    SkipBad,
    examples,
    load_encoder,
    parse_columns,
)
from debater_search.cli.output import results
from debater_search.errors import DebaterError
from debater_search.progress import duration

EXAMPLES = examples(
    "debater index data/cranfield",
    "debater index papers.jsonl.gz --model debater-2b --output indexes/papers",
    "debater index papers.jsonl --memory 4GB --recall 0.98",
    "debater index books.jsonl --passages 256 --overlap 32 --workers 4",
    "debater index papers.jsonl --backend milvus --uri http://localhost:19530",
    "debater index products.csv --columns id=sku,title=name,text=description",
    "debater index data/cranfield --encode-only --output vectors",
    "debater index data/cranfield --embeddings vectors/embeddings",
    "debater index papers.jsonl --engine ray --encode-only --output s3://bucket/p",
    "debater index --update papers.jsonl.gz --output indexes/papers",
)

VECTORS, ENCODING = "Vector index", "Encoding"

_UPDATE_TAKES = (
    "Beside it go --output, --columns, --skip-bad, --model, --base-model, --device, --wait and --json; "
    "to build anew, use --force alone."
)


def index(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A jsonl, csv, tsv or parquet file (.gz too), a text (txt, md, html, pdf) or a folder.",
            metavar="CORPUS",
        ),
    ],
    model: Model = None,
    base_model: BaseModel = None,
    pooling: Pooling = None,
    attention: Attention = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Default: indexes/CORPUS'S NAME; with --encode-only also s3://BUCKET/NAME.",
            metavar="DIR",
        ),
    ] = None,
    columns: Columns = None,
    skip_bad: SkipBad = False,
    index_type: Annotated[
        str,
        typer.Option(
            "--type",
            help="Type of the vector index: auto, flat (exact), hnsw, cagra, ivf, sq8, ivfpq, binary, or FAISS's own.",
            metavar="TYPE",
            rich_help_panel=VECTORS,
        ),
    ] = "auto",
    backend: Annotated[
        str,
        typer.Option(
            help="What keeps the vectors: faiss (in the index's folder) or milvus (at --uri).",
            metavar="NAME",
            rich_help_panel=VECTORS,
        ),
    ] = "faiss",
    uri: Annotated[
        str | None,
        typer.Option(
            help="Address of Milvus: http://HOST:19530, or a file NAME.db of milvus-lite.",
            metavar="URI",
            rich_help_panel=VECTORS,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory that type auto may use, such as 4GB. Default: half of the machine's.",
            metavar="SIZE",
            rich_help_panel=VECTORS,
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(help="Target recall@10 relative to exact search.", metavar="SHARE", rich_help_panel=VECTORS),
    ] = 0.95,
    all_steps: Annotated[
        bool,
        typer.Option("--all-steps", help="Store every thinking step's vectors too.", rich_help_panel=VECTORS),
    ] = False,
    dim: Annotated[
        int | None,
        typer.Option(
            help="Cut vectors to their first N numbers (Matryoshka models).", metavar="N", rich_help_panel=VECTORS
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Encode documents in 8-bit integers: on a CPU up to twice as fast.",
            rich_help_panel=ENCODING,
        ),
    ] = False,
    passages: Annotated[
        int | None,
        typer.Option(
            help="Cut documents into passages of at most N tokens; hits are documents.",
            metavar="N",
            rich_help_panel=TEXTS,
        ),
    ] = None,
    overlap: Annotated[
        int, typer.Option(help="Tokens that neighbouring passages share.", metavar="N", rich_help_panel=TEXTS)
    ] = 32,
    language: Annotated[
        str,
        typer.Option(
            help="How words are compared: english (stems, stop words) or any (as they stand).",
            metavar="NAME",
            rich_help_panel=TEXTS,
        ),
    ] = "english",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Encoding processes. Default: one per GPU, else 1; on Ray one per machine.",
            metavar="N",
            rich_help_panel=ENCODING,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Where encoding runs: local, or ray (on a cluster, or on one started here).",
            metavar="NAME",
            rich_help_panel=ENCODING,
        ),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Address of the Ray cluster: auto or HOST:6379.", metavar="ADDRESS", rich_help_panel=ENCODING
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            help="Texts per shard. Default: 1,000; on object storage 50,000.", metavar="N", rich_help_panel=ENCODING
        ),
    ] = None,
    encode_only: Annotated[
        bool, typer.Option("--encode-only", help="Write embeddings/ and build no index.", rich_help_panel=ENCODING)
    ] = False,
    embeddings: Annotated[
        str | None,
        typer.Option(
            help="Build from ready shards: a folder, or s3://BUCKET/NAME.", metavar="DIR", rich_help_panel=ENCODING
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Change an index: encode what is new or changed, drop what is gone.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="With --update: wait for another writer of the index instead of failing at once."),
    ] = False,
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Encode a corpus and build its index."""
    with results(as_json) as out:
        from debater_search.encoder.protocol import device_of
        from debater_search.indexing import build, check_build, check_corpus, check_encode_to, encode_to, usual_workers
        from debater_search.indexing import update as update_index
        from debater_search.indexing.engines.ray import usual_workers as usual_ray_workers
        from debater_search.store.lexical import language_of
        from debater_search.vectors.faiss import parse_memory, require_one_faiss

        language_of(language)
        choice = (index_type, parse_memory(memory) if memory is not None else None, recall)
        remote = output is not None and "://" in output
        folder = INDEXES / corpus_name(corpus) if output is None else Path(output)
        if update and not remote:
            folder = found_index(folder) or folder
        reading: Any = {"columns": parse_columns(columns), "skip_bad": skip_bad}
        if not update and (embeddings is None or columns is not None):  # ready shards may remember the columns
            check_corpus(corpus, **reading)  # before the model is loaded
        if backend == "faiss":
            require_one_faiss()
        if update:
            given = (embeddings, pooling, attention, dim, int8, passages, overlap != 32, language != "english", workers)
            elsewhere = remote or ray_address or engine != "local" or shard_size or uri
            if elsewhere or force or encode_only or all_steps or any(given) or choice != ("auto", None, 0.95):
                raise DebaterError("--update keeps the index's type and embeddings as they are.", _UPDATE_TAKES)
            check_corpus(corpus, **reading, index=folder)
            encoder = moved_encoder(folder, model, base_model, device)
            reading |= {"encoder": encoder, "device": device, "wait": patience(wait)}
            return show_change(out, update_index(folder, corpus, **reading, progress=True))
        if wait:
            raise DebaterError("--wait has no effect without --update.", "Give --update too, or leave it out.")
        if overlap != 32 and passages is None:
            raise DebaterError(
                "--overlap has no effect without --passages.", "Give --passages too, such as --passages 256."
            )
        ready = embeddings is not None and model is None
        if ready and (dim is not None or int8 or pooling is not None or attention is not None):
            raise DebaterError(
                "--dim, --int8, --pooling and --attention cannot change ready embeddings.",
                "Leave them out, or encode the corpus again.",
            )
        settings: dict[str, Any] = {
            "type": index_type,
            "memory": choice[1],
            "recall": recall,
            "backend": backend,
            "uri": uri,
            "all_steps": all_steps,
            "encode_only": encode_only,
            "embeddings": embeddings,
            "passages": passages,
            "overlap": overlap,
            "force": force,
        }
        where: dict[str, Any] = {"workers": workers or 1, "engine": engine, "ray_address": ray_address}
        if output is None or not remote:
            check_build(folder, **settings, **where)
        elif not encode_only or embeddings is not None or backend != "faiss":
            raise DebaterError("Only embeddings lie on object storage.", "Give --encode-only, then build from them.")
        else:
            check_encode_to(output, **where, force=force)
        how = {"pooling": pooling, "attention": attention, "dim": dim, "dtype": "int8" if int8 else None}
        encoder = None if ready else load_encoder(model, base_model, device, **how)
        if workers is None:
            where["workers"] = usual_workers(device)
            if engine == "ray" and encoder is not None:
                where["workers"] = usual_ray_workers(ray_address, device_of(encoder))
        where["progress"] = True
        if shard_size is not None:
            where["shard_size"] = shard_size
        if remote:
            assert encoder is not None
            assert output is not None
            kept = {name: settings[name] for name in ("all_steps", "passages", "overlap", "force")}
            result: Any = encode_to(corpus, encoder, output, **reading, **kept, **where)
        else:
            result = build(corpus, encoder, folder, **reading, **settings, language=language, **where)
        if encode_only:
            place = output if remote else str(folder)
            facts: dict[str, Any] = {"embeddings": f"{place}/embeddings", "documents": result.documents}
            following = f"debater index {corpus} --embeddings {place} --output indexes/NAME"
        else:
            from debater_search.indexing.description import describe

            facts, following = describe(folder), f'debater search "…" --index {folder}'
        if as_json:
            return out.json(facts | {"seconds": result.seconds})
        (show_facts if encode_only else show_summary)(out, facts)
        seconds = ", ".join(f"{stage} {duration(took)}" for stage, took in result.seconds.items())
        out.show(f"Took: {seconds}")
        return out.next(following)


def corpus_name(corpus: str) -> str:
    """What a corpus is called: its folder's name, or its file's without the endings.

    Raises DebaterError for standard input, which has no name.
    """
    if corpus == "-":
        raise DebaterError("An index of standard input needs a name.", "Give one: --output indexes/NAME.")
    path = Path(corpus).resolve()
    name = path.name if path.is_dir() else path.name.split(".")[0] or path.name.strip(".")
    return path.parent.name if name == "corpus" and not path.is_dir() else name
