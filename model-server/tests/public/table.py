"""The table of `make models`: all public files and what today's exporters write, each compared with onnxruntime.

    table.py MODELS [EXPORTED]

MODELS is the folder that scripts/models prints, EXPORTED one that exporters.py filled. Ends with status 1 if a file does not
load or an answer differs.
"""

import json
import pathlib
import sys

import exported
import files
import harness

# The rest are the defaults. Batches of 32 rows of some of these models take minutes of warming.
FLAGS = ("--max-batch-size=4",)


def main() -> int:
    models = pathlib.Path(sys.argv[1])
    rows = [("public", harness.compare(file.path, models / file.path, *file[1:], flags=FLAGS)) for file in shown(files.SMALL + files.LARGE)]
    if len(sys.argv) > 2:
        folder = pathlib.Path(sys.argv[2])
        rows += [("exported", exported.compare(folder, model)) for model in shown(exported.listed(folder))]
    print(f"\n{'model':70} {'loads':5} {'equal':5} {'difference':>10} {'load ms':>8} {'RSS MB':>7}")
    for _, row in rows:
        figures = "" if row.difference is None else f"{row.difference:10.1e} {row.load_ms:8.0f} {row.rss_bytes / 1e6:7.1f}"
        print(f"{row.model:70} {yes(row.loads):5} {yes(row.equal):5} {figures}{row.error or ''}")
    for kind in dict(rows):
        of_kind = [row for other, row in rows if other == kind]
        print(f"{kind}: {len(of_kind)} files, {sum(row.loads for row in of_kind)} load, {sum(row.equal for row in of_kind)} equal")
    report = harness.ROOT / "target/reports/public-models.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"rows": [{"kind": kind, **row._asdict()} for kind, row in rows]}, indent=1) + "\n")
    return 0 if all(row.equal for _, row in rows) else 1


def shown(models):
    """Says which one is under way."""
    for number, model in enumerate(models, 1):
        print(f"{number}/{len(models)} {getattr(model, 'path', model)}", file=sys.stderr, flush=True)
        yield model


def yes(truth: bool) -> str:
    return "yes" if truth else "no"


sys.exit(main())
