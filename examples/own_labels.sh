#!/bin/sh
# Labels of your own: a file with the columns text and label becomes the next version of a model in ./model_store.
# Training needs PyTorch: pip install 'sentiment-service[train]'. 96 sentences are enough to see how it goes, no more.
set -eu
python -m sentiment_service train --data docs/examples/complaints.csv --name complaints --balanced --threads 1
python -m sentiment_service classify "The parcel came two weeks late." --model complaints --store model_store
# Served like any other:
#   python -m sentiment_service serve --model complaints
