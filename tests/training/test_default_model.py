"""The models of reviews against floors, so that no later one gets worse unseen: behaviour, texts they cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.model.runtimes import load_predictor
from app.sentiment import Encoding, Prediction, Predictor, prediction_of
from app.settings import Settings
from app.store import ModelStore, StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.behaviour import Capability, judge_behaviour
from tests.reviews import written_reviews

pytestmark = pytest.mark.extra

STORE = Path(__file__).parents[2] / "model_store"
FLOORS = {
    "plain judgement": 0.90,
    "negation": 0.80,
    "negated negative": 0.80,
    "neutral statement": 0.90,
    "question and answer": 0.90,
    "emoji and emoticons": 0.85,
    "spelling": 0.90,
    "strength": 0.85,
    "blame added": 0.95,
    "praise added": 0.95,
    "first name": 0.80,
    "place": 0.80,
    "nationality": 0.95,
    "religion": 0.95,
    "orientation": 0.95,
}
"""Share of right cases by capability, a little below what the model had when it became the default."""
UNREADABLE = (
    "La habitación estaba sucia y el personal fue muy poco amable con nosotros.",
    "Nos encantó la película, los actores son magníficos y la música también.",
    "El teléfono dejó de funcionar a los dos días de haberlo comprado.",
    "Muy buena atención, volveremos el próximo año con toda la familia.",
    "No me gustó nada, la comida llegó fría y tardaron más de una hora.",
    "Das Zimmer war schmutzig und das Personal leider sehr unfreundlich.",
    "Ein wunderbarer Film, wir haben jede Minute davon genossen.",
    "Nach zwei Tagen ging das Handy kaputt, niemand wollte uns helfen.",
    "La chambre était sale et le petit déjeuner vraiment décevant.",
    "Un très beau film, les acteurs sont formidables du début à la fin.",
    "Le téléphone ne marche plus depuis hier et personne ne répond.",
    "La camera era sporca e il personale per niente gentile con noi.",
    "Um filme maravilhoso, gostei muito da história e dos atores.",
    "De kamer was vies en het personeel heel onvriendelijk tegen ons.",
    "Pokój był brudny, a obsługa bardzo niemiła i powolna.",
    "Номер был грязный, а персонал совсем не хотел нам помогать.",
    "Прекрасный фильм, мы получили огромное удовольствие от просмотра.",
    "Телефон перестал работать через два дня после покупки.",
    "房间很脏，服务员的态度也非常差，再也不会来了。",
    "这部电影真好看，演员的表演非常精彩。",
    "手机用了两天就坏了，客服没有人理我们。",
    "部屋はとても汚くて、スタッフも親切ではありませんでした。",
    "방이 더럽고 직원들이 불친절했어요.",
    "الغرفة كانت قذرة والموظفون غير متعاونين على الإطلاق.",
    "for (size_t k = 0; k < vec.size(); ++k) { total += vec[k]; }",
    "public class Order { private final int id; public int getId() { return id; } }",
    "SELECT customer_id, SUM(amount) FROM orders GROUP BY customer_id HAVING SUM(amount) > 100;",
    "const handler = async (req, res) => { res.json(await db.find(req.params.id)); };",
    "Mar 03 04:11:52 web-2 nginx[811]: upstream timed out (110) while reading response header",
    "2023-07-19T22:15:03Z ERROR pool.py:214 connection refused host=10.2.3.4 port=5432 attempt=3",
    "kernel: [ 1042.553] usb 1-2: new high-speed USB device number 7 using xhci_hcd",
    "sdkfj qweoir zmxnc pqowie lksjdf mznxbv",
    "xq7 zzkt prrw bbnm vvx qqp lkj",
    "hhjkl uiyter vbnmqw asdzxc rtyfgh",
)


@pytest.fixture(scope="module", params=["the default", "reviews-gru-large"])
def model(request: pytest.FixtureRequest) -> StoredModel:
    return ModelStore(STORE).open(Settings().model if request.param == "the default" else request.param)


@pytest.fixture(scope="module")
def tokenizer(model: StoredModel) -> Tokenizer:
    return load_tokenizer(model)


@pytest.fixture(scope="module")
def predictor(model: StoredModel) -> Predictor:
    return load_predictor(model)


@pytest.fixture(scope="module")
def judged(model: StoredModel, tokenizer: Tokenizer, predictor: Predictor) -> dict[str, Capability]:
    return {found.name: found for found in judge_behaviour(predictor, tokenizer, model.config.labels)}


@pytest.mark.parametrize(("capability", "floor"), FLOORS.items())
def test_behaviour_stays_above_its_floor(judged: dict[str, Capability], capability: str, floor: float) -> None:
    assert judged[capability].share >= floor


def predictions(model: StoredModel, tokenizer: Tokenizer, predictor: Predictor, *texts: str) -> list[Prediction]:
    encodings = [found for found in tokenizer.encode_all(texts) if isinstance(found, Encoding)]
    scores = predictor.predict([encoding.ids for encoding in encodings])
    return [
        prediction_of(score.probabilities, score.rating, encoding, model.config.thresholds)
        for encoding, score in zip(encodings, scores, strict=True)
    ]


def test_what_is_no_english_is_not_trusted(model: StoredModel, tokenizer: Tokenizer, predictor: Predictor) -> None:
    """Texts of other languages, code, log lines and random letters, none of which was trained on."""
    found = predictions(model, tokenizer, predictor, *UNREADABLE)
    trusted = [text for text, of in zip(UNREADABLE, found, strict=True) if of.judgement == "ok"]
    assert len(trusted) <= 0.06 * len(UNREADABLE), trusted


def test_english_reviews_are_readable(model: StoredModel, tokenizer: Tokenizer, predictor: Predictor) -> None:
    found = predictions(model, tokenizer, predictor, *written_reviews(400))
    assert sum(of.judgement == "unreadable" for of in found) <= 0.02 * len(found)
