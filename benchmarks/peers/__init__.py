"""The servers this service is compared with, one small file each, written as its documentation shows.

Every one reads its port and the checkpoint from the environment (see ``model``) and runs in a virtual environment of
its own.
"""
