"""Makes the conformance streams; `python bitstreams/make.py` runs it."""
