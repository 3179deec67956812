"""Exit codes beside those of errors (`imfcodec.errors`)."""

EXIT_FAILURE = 1
EXIT_CONCEALED = 6
EXIT_INTERRUPTED = 130
EXIT_SIGNAL = 128  # and the number of the signal: 129 hung up, 143 terminated
