"""The consensus algorithm as a pure step function: inputs in; messages, entries, hard state out."""
