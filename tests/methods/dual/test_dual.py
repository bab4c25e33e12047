"""Dual encoders: towers, tokens and pictures are transformers' own, zero-shot is the published weights, fine-tuning learns."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoTokenizer

from itrcore import layout
from itrcore.assets import towers
from itrcore.assets.pictures import Pictures
from itrcore.assets.towers import TowersText
from itrcore.data.feeding.batches import Batch, Normalise, PixelBatch, TextBatch
from itrcore.data.feeding.pixels import frame
from itrcore.data.text.published_tokens import PublishedTokens
from itrcore.errors import ConfigError, DataError
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.evaluation.load import load_run
from itrcore.files import read_json
from itrcore.layers.progress import Progress
from itrcore.methods.build import build
from itrcore.methods.objective import Objective
from itrcore.report.leaderboard import as_json
from itrcore.report.markdown import as_markdown
from itrcore.report.results import collect
from itrcore.report.terminal import print_leaderboard
from itrcore.runs import inputs
from itrcore.runs.observer import Observer
from itrcore.settings.methods import MethodSettings
from itrcore.settings.recipes import Recipe
from itrcore.training.step import make_optimiser
from itrcore.training.zero_shot import write_run
from tests.support import dual_data
from tests.support.helpers import method_settings
from tests.support.picture_data import photo
from tests.support.project import ROOT
from tests.support.tiny_project import PIXELS, prepare, write_params

KINDS = list(dual_data.FOLDERS)
SIZES = [(64, 48), (48, 64), (33, 33), (32, 35), (37, 32), (500, 333), (20, 90)]
SIGMOID = {"kind": "sigmoid", "max_scale": 1000.0}
SYMMETRIC = {"kind": "symmetric", "max_scale": 100.0}

# Parameters, as open_clip counts them beside its zero-shot figures.
MILLIONS = {
    "openai/clip-vit-base-patch32": 151.28,
    "openai/clip-vit-base-patch16": 149.62,
    "openai/clip-vit-large-patch14-336": 427.94,
    "laion/CLIP-ViT-B-16-laion2B-s34B-b88K": 149.62,
    "google/siglip-base-patch16-224": 203.16,
    "google/siglip-so400m-patch14-384": 877.96,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Of each kind the folder of a small model, and the model."""
    folder = tmp_path_factory.mktemp("published")
    return {kind: (folder / kind, make(folder / kind)) for kind, make in dual_data.FOLDERS.items()}


def prepared(folder: Path, **other: Any) -> tuple[MethodSettings, TowersText]:
    settings = MethodSettings.model_validate(dual_data.settings(folder, **other))
    return settings, towers.prepare(settings.model.text, dual_data.DIM, folder, folder)  # type: ignore[arg-type]


def method_of(settings: MethodSettings, side: TowersText) -> Any:
    return build(settings, Pictures(), side.source, 0)


def pixels(side: TowersText, pictures: list[Image.Image]) -> torch.Tensor:
    given = side.source.pictures
    return Normalise.of(given)(torch.stack([frame(picture, given) for picture in pictures]))


def captions(side: TowersText) -> TextBatch:
    return TextBatch.pad([torch.tensor(side.tokeniser.encode(text).ids).numpy() for text in dual_data.CAPTIONS])


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_read_as_its_own_processor_reads_them(kind: str, published: Any) -> None:
    folder, _ = published[kind]
    _, side = prepared(folder)
    processor: Any = AutoImageProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    for number, size in enumerate(SIZES):
        picture = photo(number, size)
        theirs = torch.as_tensor(processor(picture, return_tensors="np")["pixel_values"])
        torch.testing.assert_close(pixels(side, [picture]), theirs, rtol=0, atol=2e-5, msg=str(size))


@pytest.mark.parametrize("kind", KINDS)
def test_similarities_are_those_of_transformers_own_model_and_tokeniser(
    kind: str, published: Any, tmp_path: Path
) -> None:
    folder, model = published[kind]
    settings, side = prepared(folder)
    pictures = [photo(number, (40 + number, 36)) for number in range(3)]
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    longest = model.config.text_config.max_position_embeddings
    lower = [text.lower() if kind == "siglip" else text for text in dual_data.CAPTIONS]
    words = tokenizer(lower, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
    given = {"input_ids": words["input_ids"]}
    if kind != "siglip":  # which reads what fills its captions up
        given["attention_mask"] = words["attention_mask"]
    with torch.inference_mode():
        theirs = model(**given, pixel_values=pixels(side, pictures)).logits_per_image
    side.save(tmp_path)
    restored = towers.restore(side.source.settings, tmp_path)
    assert restored.tokeniser.decides == side.tokeniser.decides and restored.source.pictures == side.source.pictures
    loaded = method_of(settings, restored)
    loaded.load_state_dict(method_of(settings, side).state_dict())
    for method, own in ((method_of(settings, side), side), (loaded, restored)):
        method.eval()
        with torch.inference_mode():
            cosine = method.similarity(
                method.encode_images(PixelBatch(pixels(own, pictures))), method.encode_texts(captions(own))
            )
            logits = cosine * method.log_scale.exp() + (0.0 if method.bias is None else method.bias)
        torch.testing.assert_close(logits, theirs, rtol=1e-4, atol=1e-4)
        assert cosine.abs().max() <= 1 + 1e-6


def test_a_caption_is_cut_at_its_length_and_siglips_are_filled_up(published: Any) -> None:
    long = "a dog runs " * 30
    for kind, longest in (("clip", 12), ("siglip", 16), ("align", 32)):
        tokeniser = prepared(published[kind][0])[1].tokeniser
        cut, short = tokeniser.encode(long), tokeniser.encode("a dog")
        assert len(cut.ids) == longest and cut.ids[-1] == short.ids[-1]  # keeps its end
        assert len(short.ids) == (longest if kind == "siglip" else len(short.ids)) and len(short.ids) == len(
            short.words
        )
    siglip = prepared(published["siglip"][0])[1].tokeniser
    assert siglip.encode("A DOG") == siglip.encode("a dog")


@pytest.mark.parametrize(("kind", "loss"), [("clip", SYMMETRIC), ("siglip", SIGMOID), ("align", SYMMETRIC)])
def test_fine_tuning_learns_and_its_scale_and_bias_start_from_the_models_own(
    kind: str, loss: dict[str, Any], published: Any
) -> None:
    settings, side = prepared(published[kind][0], epochs=1, loss=loss, learning_rate=3e-3)
    method = method_of(settings, side)
    objective = Objective.of(settings, method)
    scale, bias = method.log_scale.item(), None if method.bias is None else method.bias.item()
    texts = captions(side)
    n = len(texts.lengths)
    images = PixelBatch(pixels(side, [photo(number, (48, 40)) for number in range(n)]))
    batch = Batch(images, texts, list(range(n)), list(range(n)))
    assert not list(objective.loss.parameters())  # the loss has none of its own

    method.train()
    method.begin_epoch(0)
    value = objective(batch, Progress(0, 0)).total
    value.backward()
    # The derivative by temperature and bias, from the similarities alone.
    with torch.no_grad():
        s = method.similarity(method.encode_images(images), method.encode_texts(texts)).double()
    moved = torch.tensor([scale, bias or 0.0], dtype=torch.float64, requires_grad=True)
    logits = s * moved[0].exp() + moved[1]
    if loss is SIGMOID:
        signs = 2 * torch.eye(n, dtype=torch.float64) - 1
        wanted = (1 + (-signs * logits).exp()).log().sum() / n
    else:
        wanted = -(logits.log_softmax(0).diagonal().mean() + logits.log_softmax(1).diagonal().mean()) / 2
    (slope,) = torch.autograd.grad(wanted, moved)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert method.log_scale.grad.item() == pytest.approx(slope[0].item(), rel=1e-3, abs=1e-5)
    assert method.bias is None or method.bias.grad.item() == pytest.approx(slope[1].item(), rel=1e-3)

    optimiser, _ = make_optimiser(objective, settings.recipe)
    totals = []
    for step in range(40):
        total = objective(batch, Progress(0, step)).total
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        objective.after_step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]
    assert method.log_scale.item() != scale and (method.bias is None or method.bias.item() != bias)


def test_a_bias_has_one_origin(published: Any) -> None:
    for kind, loss, says in (
        ("clip", SIGMOID, "loss.initial_bias is missing"),
        ("siglip", {**SIGMOID, "initial_bias": -10.0}, "remove loss.initial_bias"),
    ):
        settings, side = prepared(published[kind][0], epochs=1, loss=loss)
        with pytest.raises(ConfigError, match=says):
            Objective.of(settings, method_of(settings, side))


def test_what_does_not_fit_is_said(published: Any, tmp_path: Path) -> None:
    folder, _ = published["siglip"]
    settings, side = prepared(folder)
    narrow = settings.model.model_copy(update={"dim": 16})
    with pytest.raises(DataError, match=r"set model\.dim to 32"):
        build(settings.model_copy(update={"model": narrow}), Pictures(), side.source, 0)
    for name, changes, says in (
        ("config.json", {"model_type": "bert"}, "says bert; known are clip, siglip, align"),
        ("preprocessor_config.json", {"do_resize": False}, "do_resize, do_rescale and do_normalize must be true"),
        ("preprocessor_config.json", {"size": {"height": 32, "width": 48}}, "size"),
    ):
        other = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        other.mkdir()
        for path in folder.iterdir():
            (other / path.name).symlink_to(path)
        (other / name).unlink()
        (other / name).write_text(json.dumps(read_json(folder / name) | changes))
        with pytest.raises(DataError, match=says):
            prepared(other)


def test_a_zero_shot_run_is_the_published_weights_and_is_evaluated_as_any_other(published: Any, tmp_path: Path) -> None:
    folder, model = published["siglip"]
    run = {"data": "tiny", "method": "published"}
    changes = {
        "datasets.tiny.shards": {"images": {"samples_per_shard": 1000, "max_megapixels": 1}},
        "methods.published": dual_data.settings(folder, loss=SIGMOID),
        "runs": {"ours": run},
        "ensembles": {},
    }
    params = prepare(tmp_path, changes)
    with contextlib.chdir(tmp_path):
        out = write_run(params, "ours", Observer())
        evaluate(params, "ours")
        judge(params, "ours")
        loaded = load_run(out)
        described = inputs.training(params, "ours")
    weights = load_file(tmp_path / out / layout.WEIGHTS)
    of_model = {f"towers.{name}": value for name, value in model.state_dict().items()}
    assert weights.keys() == of_model.keys() and all(weights[key].equal(value) for key, value in of_model.items())
    record = loaded.record
    assert (record.origin, record.seed, record.best_epoch, record.training) == ("zero-shot", None, 0, None)
    assert not (tmp_path / out / "history.json").exists()
    assert "dual encoder" in described["data"] and described["settings"].keys() == {"model"}

    results = collect(tmp_path, {"ours": "tiny"}, {})
    assert "| ours (published) | – | synthetic | zero-shot |" in as_markdown(results, "t")
    assert "Models selected on: nothing (zero-shot)." in as_markdown(results, "t")
    assert as_json(results)["tiny"]["ours"]["rsum"] > 0 and "seeds" not in as_json(results)["tiny"]["ours"]
    console = Console(width=100, file=io.StringIO(), color_system=None)
    print_leaderboard(results, console)
    assert "0 zero-shot: published weights, not trained" in console.file.getvalue()  # type: ignore[attr-defined]


def test_siglip_2s_captions_are_lower_cased_and_filled_up_though_its_tokeniser_does_neither(tmp_path: Path) -> None:
    from transformers import GemmaTokenizer

    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"adgoADGO"]
    made = GemmaTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[], padding_side="right")
    asked = {"limit": 8, "filled": True, "lower": True}
    tokeniser = PublishedTokens(made, **asked)
    given = tokeniser.encode("A DoG")
    assert given == tokeniser.encode("a dog") and len(given.ids) == 8 and given.ids[-1] == made.pad_token_id
    assert [tokens[number] for number in given.ids if number > 4] == ["a", "▁", "d", "o", "g"]
    tokeniser.save(tmp_path)
    restored = PublishedTokens.read(tmp_path, **asked)
    assert restored.decides == tokeniser.decides and restored.encode("a dog") == given


@pytest.mark.parametrize("method", ["dual_clip", "dual_siglip"])
def test_every_recipe_has_the_width_and_the_size_of_its_weights_before_they_are_there(method: str) -> None:
    recipe = Recipe(ROOT / "recipes" / f"{method}.yaml")
    for settings in recipe.variants.values():
        source = towers.untrained(settings.model.text, 0, 0).source  # type: ignore[arg-type]
        with torch.device("meta"):
            built = build(settings, Pictures(), source, 0)  # refuses another width
        millions = sum(parameter.numel() for parameter in built.parameters()) / 1e6
        assert millions == pytest.approx(MILLIONS[settings.model.text.weights], abs=0.01)  # type: ignore[union-attr]


def test_only_what_pretrained_weights_make_whole_can_be_zero_shot() -> None:
    with pytest.raises(ValueError, match=r"recipe\.epochs 0 trains nothing, and model\.kind esl_clip"):
        method_settings("esl_h_clip", epochs=0)


def test_a_zero_shot_run_has_no_seed_a_training_has_one_and_both_are_families_of_their_own(tmp_path: Path) -> None:
    zero_shot, tuned = (MethodSettings.model_validate(dual_data.settings(tmp_path, epochs=epochs)) for epochs in (0, 2))
    assert (zero_shot.family, tuned.family) == (f"dual {tmp_path} zero-shot", f"dual {tmp_path}")
    for epochs, run, says in (
        (
            0,
            {"seed": 1},
            r"runs.ours.seed: dual \(published\) has recipe.epochs 0, which draws nothing at random; remove it",
        ),
        (2, {}, "runs.ours: the key seed is missing"),
    ):
        changes = {
            "datasets.tiny.shards.images": PIXELS["datasets.tiny.shards.images"],
            "methods.dual": dual_data.settings(tmp_path, epochs=epochs),
            "runs.ours": {"data": "tiny", "method": "dual", **run},
        }
        with pytest.raises(ConfigError, match=says):
            write_params(tmp_path, changes)
