"""Where everything lies, relative to the project's folder; the same paths stand in dvc.yaml."""

from __future__ import annotations

from pathlib import Path

NLTK = Path("data/nltk")
RECIPES, NLTK_SETTINGS = Path("recipes"), Path("nltk.yaml")  # in the project's folder, for all experiments
REPORT = Path("report")
LEADERBOARD = REPORT / "leaderboard.json"
WORDS, PIECES, VECTORS = "vocab.json", "wordpieces.txt", "glove.safetensors"  # in a data set's vocabulary folder
SENTENCES = "nltk"  # beside a run's own vocabulary: the sentence data that it was made with
WEIGHTS, TEXT, IMAGE, CONCEPTS = "model.safetensors", "text", "image", "concepts"  # in a run's folder
# Not a DVC output: a killed training goes on from here, and DVC removes outputs before it runs a stage again.
STATE = Path("state")
FINISHED = "finished.json"  # in the folder of a training's state: it is done
LOG = "log.txt"  # there too, and among the artifacts of its MLflow run: all that its attempts said
DOWNLOADS = Path("downloads")
PULLED = Path("pulled")  # folders of runs that were trained in other checkouts
SWEEPS = Path("sweeps")  # of each sweep its settings, and a folder of what it has tried


def download(name: str) -> Path:
    """A download's files."""
    return DOWNLOADS / name


def download_record(name: str) -> Path:
    """The size and SHA-256 of each of a download's files."""
    return DOWNLOADS / f"{name}.json"


def raw(data: str) -> Path:
    """What the source gave: SCAN's files, or `source.json`, which says where they lie."""
    return Path("data", data, "raw")


def captions(data: str) -> Path:
    """The caption table."""
    return Path("data", data, "captions.parquet")


def splits(data: str) -> Path:
    """The caption table's digest; the images and captions of each split, and how far they agree with Karpathy's JSON."""
    return Path("data", data, "splits.json")


def vocabulary(data: str) -> Path:
    """What captions are tokenised with: vocab.json, and word pieces and GloVe vectors where params.yaml asks for them."""
    return Path("data", data, "vocab")


def concepts(data: str) -> Path:
    """What its training captions speak of, where params.yaml asks for it; else only the record that there is nothing."""
    return Path("data", data, "concepts")


def shards(data: str) -> Path:
    """Everything of a data set that is written into shards."""
    return Path("data", data, "shards")


def features(data: str) -> Path:
    """Region features computed from the pictures, where params.yaml asks for them; else only the record that there are none."""
    return Path("data", data, "features")


def region_shards(data: str) -> Path:
    """Region features and their index: those computed from the pictures where there are any, else those of the source."""
    computed = features(data) / "regions"
    return computed if computed.is_dir() else shards(data) / "regions"


def image_shards(data: str) -> Path:
    """Pictures and their index."""
    return shards(data) / "images"


def verified(data: str, shards: Path) -> Path:
    """Of the shards in a folder, which were verified. A cache of this machine: no DVC output, removable at any time."""
    return Path("cache", "verified", data, shards.name)


def tokens(data: str, split: str, tokeniser: str) -> Path:
    """The captions of a split as the ids of a kind of tokeniser. A cache as well."""
    return Path("cache", "tokens", data, f"{split}-{tokeniser}.safetensors")


def hidden_states(data: str, split: str) -> Path:
    """What a frozen BERT makes of the captions of a split. A cache as well."""
    return Path("cache", "hidden_states", data, f"{split}.safetensors")


def check(data: str) -> Path:
    """The page that `itr data check` writes."""
    return Path("checks", data)


def code(name: str) -> Path:
    """The record of the code of a stage, or of something else that has one."""
    return Path("inputs", "code", f"{name}.json")


def inputs(stage: str, data: str) -> Path:
    """For each run, or transfer to, a data set, the record of what decides a stage's result."""
    return Path("inputs", stage, data)


def extraction(data: str) -> Path:
    """The record of what decides the features that are computed from a data set's pictures."""
    return Path("inputs", "features", f"{data}.json")


def judging(data: str) -> Path:
    """The record of the protocols that the results of a data set are judged by."""
    return Path("inputs", "judge", f"{data}.json")


def members(data: str, ensemble: str) -> Path:
    """The record of an ensemble's members: what decides its scores."""
    return Path("inputs", "ensemble", data, f"{ensemble}.json")


def run(data: str, name: str) -> Path:
    """A training's results: model.safetensors, text/, image/, concepts/, run.json, history.json; an imported run has no history."""
    return Path("runs", data, name)


def evaluation(data: str, name: str) -> Path:
    """A run's scores: evaluation.json; of test and of dev vectors.safetensors, or similarity.npy if it has no vectors."""
    return Path("evaluations", data, name)


def result(data: str, name: str) -> Path:
    """Of a run or an ensemble: metrics.json, ranks.parquet, retrieved.json; explained.json if words attend to regions."""
    return Path("results", data, name)


def metrics(name: str) -> Path:
    """The few figures of a run or an ensemble that DVC compares."""
    return Path("metrics", f"{name}.json")


def curve(name: str) -> Path:
    """A training's evaluations on dev, for DVC's plots."""
    return Path("curves", f"{name}.csv")


def sweep_settings(name: str) -> Path:
    """What a sweep varies, in which run."""
    return SWEEPS / f"{name}.yaml"


def sweep(name: str) -> Path:
    """What a sweep has tried: optuna.db, logs, and states of its trainings. No DVC output: `itr sweep` makes it."""
    return SWEEPS / name


def index(name: str) -> Path:
    """An index of pictures: index.json, items.parquet, vectors.npy, index.faiss. No DVC output: `itr index` makes it."""
    return Path("indexes", name)


def above_outputs(data: str) -> list[Path]:
    """Folders that hold DVC's outputs for a data set, from the top down; `downloads` is none, as DVC keeps only its records."""
    outputs = [
        *(
            NLTK,
            code("x").parent,
            raw(data),
            run(data, "x"),
            evaluation(data, "x"),
            result(data, "x"),
        ),
        *(inputs("train", data), inputs("evaluate", data), inputs("transfer", data) / "x"),
        *(judging(data), extraction(data), members(data, "x"), metrics("x"), curve("x")),
    ]
    return sorted({folder for output in outputs for folder in output.parents if folder != Path(".")})
