"""The names of the files in a run's folder, `STORAGE/NAME/`."""

JOURNAL = "journal.jsonl"  # every event, appended; all else follows from it
LEADERBOARD_CSV = "leaderboard.csv"
LEADERBOARD_JSON = "leaderboard.json"
REPORT_PAGE = "report.html"

BEST_FOLDER = "best"  # holds MODEL_FILE, CONFIG_FILE and MODEL_CARD of the best network
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.toml"
MODEL_CARD = "model_card.md"

SOFT_LABELS = "soft_labels.safetensors"  # of a search with --distil or --teacher-logits, what its finals learn from
SOFT_LABELS_FOLDER = "soft_labels"  # what each teacher has said, until SOFT_LABELS is written

TRIALS_FOLDER = "trials"  # a folder for each trial; a training alone has its checkpoints beside its journal
LAST_EPOCH = "last.safetensors"  # the checkpoint to go on from
BEST_EPOCH = "best.safetensors"  # the network of the best epoch so far, which LAST_EPOCH names

BUCKET_NOTE = "storage.txt"  # in a working copy: the bucket that holds the run
RAY_FOLDER = ".ray"  # Ray's own files while a search runs
MLFLOW_CURSOR = "mlflow.json"  # how much of the journal MLflow has
MLFLOW_LOCK = "mlflow.lock"
