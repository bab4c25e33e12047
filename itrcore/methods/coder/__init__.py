"""CODER: an instance and a concept branch, trained against momentum queues. A reconstruction, see docs/methods/coder.md."""
