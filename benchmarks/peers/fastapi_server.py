"""FastAPI, one text per forward pass: what a tutorial on serving a PyTorch model ends up with."""

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.peers.model import Answer, load_classify

app = FastAPI()
classify = load_classify()


class Review(BaseModel):
    text: str


@app.post("/classify")
def classify_review(review: Review) -> Answer:
    return classify([review.text])[0]
