"""Many files coded side by side, on one machine or many; what is done is kept in a journal."""

from imfcodec.batch.engines import open_engine
from imfcodec.batch.jobs import Job, list_jobs
from imfcodec.batch.runner import BatchTotals, run_batch
from imfcodec.batch.work import FileResult, Settings, name_model

__all__ = ["BatchTotals", "FileResult", "Job", "Settings", "list_jobs", "name_model", "open_engine", "run_batch"]
