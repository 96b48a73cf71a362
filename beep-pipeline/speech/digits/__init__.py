"""The pieces of the digits-and-commands model: see ../train.py for how they are run."""
