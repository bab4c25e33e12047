"""Getting the files that others publish: from mirrors, Kaggle, Google Drive or this disk, verified and unpacked."""
