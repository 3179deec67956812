"""Exit codes beside those of errors (`imfcodec.errors`)."""

EXIT_FAILURE = 1
EXIT_CONCEALED = 6
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
