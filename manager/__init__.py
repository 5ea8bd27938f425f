"""The control plane: its folders are the pipeline that a service goes through, in order."""
