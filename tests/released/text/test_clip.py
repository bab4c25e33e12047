"""ESL's released files with CLIP: OpenAI's names and values become transformers', and nothing that a file names is run."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.assets.clip import CLIPSource, CLIPText
from itrcore.assets.pictures import Pictures
from itrcore.errors import DataError
from itrcore.methods.esl.settings import ESLCLIPSettings
from itrcore.pretrained.clip import config_of, image_features, text_features
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.exporting import options, other_shapes
from itrcore.released.layouts import LAYOUTS, layout_of
from itrcore.released.rules import Rule
from itrcore.released.text import clip
from itrcore.released.text.openai_clip import PUBLISHED
from itrcore.settings.encoders import CLIPShape
from itrcore.settings.methods import MethodSettings
from tests.support.clip_data import small
from tests.support.helpers import released_file
from tests.support.openai_clip import OpenAIClip
from tests.support.parity_fixtures import (
    OWN,
    all_config,
    clip_entries,
    import_file,
    load,
    published,
    released_parts,
    write_checkpoint,
)

FIXTURE = load(OWN / "esl_clip_h_s7.json")
LAYOUT = LAYOUTS["esl_h_clip"]
SIMILARITY = "pool_frames.cross_attn.sims.calculator_1."


def checkpoint_of(entries: dict[str, torch.Tensor], **options: Any) -> Checkpoint:
    rest = {name: value for name, value in released_parts(FIXTURE)[0].items() if not name.startswith("clip.")}
    return Checkpoint(Path("model_best.pth"), [entries | rest], 9, None, None, options, flat=True)


def imported(checkpoint: Checkpoint, settings: MethodSettings | None = None) -> Any:
    method = convert.empty(convert.sizes(checkpoint, settings or published("esl_h_clip")))
    method.load_state_dict(convert.weights(checkpoint, LAYOUT, method))
    return method.eval()


def sizes_of(settings: MethodSettings, config: Any) -> Sizes[Any, Any]:
    """Of a published CLIP."""
    text: Any = settings.model.text
    return Sizes(settings, Pictures(), CLIPSource(text, config), 49408)


def settings_with(**shape: int) -> MethodSettings:
    """The published ones, with a CLIP that starts at random."""
    changed = published("esl_h_clip").model_dump(mode="json")
    whole = PUBLISHED["ViT-B/16"].model_dump() | shape
    changed["model"]["text"] = {"kind": "clip", "weights": "random", "shape": whole, "strip": "."}
    return MethodSettings.model_validate(changed)


@torch.no_grad()
def test_both_towers_compute_what_openais_code_computes_with_the_same_entries(tmp_path: Path) -> None:
    method, _, _ = import_file(write_checkpoint(FIXTURE, tmp_path / "m.pth"), published("esl_h_clip"))
    openai = OpenAIClip(FIXTURE["opt"]["embed_dim"]).eval()
    openai.load_state_dict({name.removeprefix("clip."): value for name, value in clip_entries(FIXTURE).items()})
    torch.manual_seed(0)
    pixels, ids, lengths = torch.randn(3, 3, 16, 16), torch.randint(1, 60, (4, 9)), torch.tensor([9, 4, 2, 7])
    model: Any = method.clip
    theirs = openai.visual(pixels)
    assert theirs.std() > 0.05
    torch.testing.assert_close(image_features(model, pixels), theirs, rtol=1e-4, atol=1e-5)
    theirs = openai.encode_text(ids, lengths - 1)
    assert theirs.std() > 0.05
    torch.testing.assert_close(text_features(model, ids, lengths - 1), theirs, rtol=1e-4, atol=1e-5)
    assert model.logit_scale.item() == pytest.approx(math.log(50.0))


def test_sizes_of_both_towers_come_from_the_weights() -> None:
    entries = clip_entries(
        FIXTURE, tokens=50, positions=20, picture=24, patch=4, image_hidden=192, text_hidden=128, layers=3
    )
    sizes = convert.sizes(checkpoint_of(entries), settings_with())
    assert (sizes.n_tokens, sizes.image.width) == (50, None)
    model = sizes.settings.model
    assert isinstance(model, ESLCLIPSettings) and (model.dim, model.levels, model.kernel) == (512, 8, 2)
    assert model.text.shape == CLIPShape(
        picture=24,
        patch=4,
        image_hidden=192,
        image_layers=3,
        image_heads=3,
        image_intermediate=768,
        text_hidden=128,
        text_layers=3,
        text_heads=2,
        text_intermediate=512,
        positions=20,
    )
    built = sizes.source.config
    assert built.text_config.hidden_act == built.vision_config.hidden_act == "quick_gelu"
    imported(checkpoint_of(entries), settings_with())


def test_attention_heads_that_no_size_tells_come_from_the_configuration_or_the_settings() -> None:
    entries = clip_entries(FIXTURE, image_hidden=48, heads=(4, 1))
    with pytest.raises(
        DataError, match=r"^model_best\.pth: its CLIP's image tower has 48 dimensions, .* attention heads"
    ):
        convert.sizes(checkpoint_of(entries), published("esl_h_clip"))
    told = convert.sizes(checkpoint_of(entries, image_heads=4), published("esl_h_clip"))
    shaped = convert.sizes(checkpoint_of(entries), settings_with(image_hidden=48, image_heads=6))
    assert [heads_of(sizes) for sizes in (told, shaped)] == [4, 6]


def heads_of(sizes: Sizes[Any, Any]) -> int:
    """Of the picture tower."""
    heads: int = sizes.source.config.vision_config.num_attention_heads
    return heads


def test_a_clip_under_transformers_names_is_the_same_and_both_at_once_are_refused() -> None:
    openai = clip_entries(FIXTURE)
    method = imported(checkpoint_of(openai))
    own = {f"clip.{name}": value for name, value in method.clip.state_dict().items()}
    constant = {"clip.text_model.embeddings.position_ids": torch.arange(12)[None]}
    again = imported(checkpoint_of(own | constant))
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in again.state_dict().items())
    twice = openai | {"clip.text_projection.weight": own["clip.text_projection.weight"]}
    with pytest.raises(DataError, match=r"1 unexpected: CLIP and similarity: clip\.text_projection\.weight;? "):
        imported(checkpoint_of(twice))


def test_what_does_not_fit_is_named_as_the_file_has_it() -> None:
    entries = clip_entries(FIXTURE)
    block = "clip.visual.transformer.resblocks.1."
    del entries[f"{block}attn.in_proj_bias"], entries["clip.ln_final.weight"]
    entries["clip.text_projection"] = torch.ones(64, 500)
    entries[f"{block}attn.in_proj_weight"] = torch.ones(3 * 128, 100)
    entries[f"{block}attn.bias_k"] = torch.ones(1)
    with pytest.raises(DataError) as caught:
        imported(checkpoint_of(entries))
    said = str(caught.value)
    part = "CLIP and similarity"
    assert f"2 missing: {part}: clip.ln_final.weight, {part}: {block}attn.in_proj_bias;" in said
    assert f"1 unexpected: {part}: {block}attn.bias_k;" in said
    assert f"{part}: clip.text_projection, transposed (500, 64) float32, not (512, 64) float32" in said
    assert f"{block}attn.in_proj_weight, piece 3 of 3 (128, 100) float32, not (128, 128) float32" in said


def test_float16_of_clip_is_read_and_said_and_nowhere_else(tmp_path: Path) -> None:
    parts = released_parts(FIXTURE)[0]
    halves = {name: value.half() if name.startswith("clip.") else value for name, value in parts.items()}
    torch.save({"epoch": 1, "state_dict": halves}, tmp_path / "half.pth")
    method, checkpoint, _ = import_file(tmp_path / "half.pth", published("esl_h_clip"))
    assert checkpoint.widened == len(clip_entries(FIXTURE))
    state = method.state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert torch.equal(state["clip.logit_scale"], parts["clip.logit_scale"].half().float())
    name = f"{SIMILARITY}sim_eval.weight"
    torch.save({"state_dict": parts | {name: parts[name].half()}}, tmp_path / "wrong.pth")
    with pytest.raises(
        DataError, match=r"sim_eval\.weight' of part 0 is strided float16 on cpu; expected a plain float32"
    ):
        Checkpoint.read(tmp_path / "wrong.pth")


def test_the_class_that_files_name_is_read_as_options_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with all_config() as config:

        def run(self: Any, state: dict[str, Any]) -> None:
            ran.touch()

        type(config).__setstate__ = run
        vars(config).update(embed_dim=512, huggingface=False)
        torch.save({"state_dict": released_parts(FIXTURE)[0], "config": config}, tmp_path / "m.pth")
        assert (
            Checkpoint.read(tmp_path / "m.pth").options == {"embed_dim": 512, "huggingface": False} and not ran.exists()
        )
        torch.load(tmp_path / "m.pth", weights_only=False)
        assert ran.exists()  # the file did hold it
    assert Checkpoint.read(write_checkpoint(FIXTURE, tmp_path / "n.pth")).options["clip_arch"] == "ViT-B/16"


def test_any_other_class_of_the_same_module_is_refused(tmp_path: Path) -> None:
    with all_config() as config:
        type(config).__name__ = type(config).__qualname__ = "Config"
        sys.modules["config.all_config"].Config = type(config)  # type: ignore[attr-defined]
        torch.save({"state_dict": released_parts(FIXTURE)[0], "config": config}, tmp_path / "m.pth")
    with pytest.raises(DataError, match=r"it wants config\.all_config\.Config to be loaded, which could run code"):
        Checkpoint.read(tmp_path / "m.pth")


# What test.py and what it builds read of `config`.
READ = (
    "dataset_name videos_dir input_res num_workers seed no_tensorboard tb_log_dir huggingface arch clip_arch embed_dim "
    "kernel_size num_mha_heads sim_dim pooling_type loss metric num_epochs model_path log_step evals_per_epoch "
    "eval_window_size batch_size"
)


def test_an_exported_file_says_all_that_the_released_evaluation_reads(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(clip_entries(FIXTURE, image_hidden=48, heads=(4, 1)), image_heads=4)
    sizes = convert.sizes(checkpoint, published("esl_h_clip"))
    method = imported(checkpoint)
    file = replace(checkpoint, path=tmp_path / "m.pth", parts=convert.to_released(method, LAYOUT))
    replace(file, options=options(sizes, "coco")).write(LAYOUT.data_parallel)
    stored = released_file(tmp_path / "m.pth")
    assert stored.keys() == {"epoch", "state_dict", "config"} and stored["epoch"] == 9
    told = vars(stored["config"])
    assert set(READ.split()) <= told.keys()
    expected = {
        **{"dataset_name": "MS-COCO", "input_res": 16, "embed_dim": 512, "kernel_size": 2},
        **{"huggingface": False, "arch": "clip_transformer", "clip_lr": pytest.approx(1e-6), "noclip_lr": 3e-5},
    }
    assert {key: told[key] for key in expected} == expected
    again, _, sizes = import_file(tmp_path / "m.pth", published("esl_h_clip"))  # its heads are told in the file
    assert heads_of(sizes) == 4
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in again.state_dict().items())


def test_an_unused_temperature_is_written_as_a_training_starts_it() -> None:
    parts = convert.to_released(imported(checkpoint_of(clip_entries(FIXTURE))), LAYOUT)[0]
    assert torch.equal(parts[f"{SIMILARITY}temp_scale.weight"], torch.tensor([[math.log(1 / 0.07)]]))


@pytest.mark.parametrize(("name", "shape"), PUBLISHED.items())
def test_openais_clips_are_exported_by_their_names(name: str, shape: CLIPShape) -> None:
    settings = published("esl_h_clip")
    dim = 512 if name.startswith("ViT-B") else 768
    config = config_of(shape, 49408, dim)
    told = options(sizes_of(settings, config), "f30k")
    assert (told["clip_arch"], told["input_res"], told["dataset_name"]) == (name, shape.picture, "Flickr30K")


def test_a_published_size_is_taken_as_it_stands_but_for_the_switch_of_the_other_strategy() -> None:
    config = config_of(PUBLISHED["ViT-B/16"], 49408, 512)
    said = {}
    for family in ("esl_h_clip", "esl_a_clip"):
        with torch.device("meta"):
            method = convert.empty(sizes_of(published(family), config))
        said[family] = other_shapes(method, layout_of(published(family)))
    switch = "it needs heuristic_strategy = False in modules/transformer.py, where it stands at the other"
    assert said == {"esl_h_clip": [], "esl_a_clip": [switch]}


def test_what_openais_code_has_fixed_and_a_clip_has_not_is_said() -> None:
    config: Any = config_of(PUBLISHED["ViT-B/16"].model_copy(update={"text_layers": 3}), 49408, 512)
    config.vision_config.hidden_act = "gelu"
    settings = published("esl_h_clip")
    source = sizes_of(settings, config).source
    text = CLIPText(source.settings, small(), config)
    assert list(clip.other_values(text, "coco")) == [
        "its CLIP has the sizes of none of OpenAI's; the released code builds these alone: "
        "ViT-B/16, ViT-B/32, ViT-L/14, ViT-L/14@336px",
        "the hidden_act of its CLIP's vision tower is gelu; the released code builds OpenAI's, with quick_gelu",
        "'.' is stripped off its captions; the released code strips '' off coco's",
    ]
    plain = CLIPText(source.settings, small(), config_of(PUBLISHED["ViT-B/16"], 49408, 512))
    assert list(clip.other_values(plain, "f30k")) == []


@pytest.mark.parametrize(
    ("tokens", "dim", "said"),
    [
        (30000, 512, ["its CLIP has 30000 tokens; the released code builds OpenAI's, with 49408"]),
        (49408, 256, ["its CLIP's vectors have 256 dimensions; those of OpenAI's ViT-B/16 have 512"]),
    ],
)
def test_a_clip_of_another_vocabulary_or_projection_is_none_of_openais(tokens: int, dim: int, said: list[str]) -> None:
    config = config_of(PUBLISHED["ViT-B/16"], tokens, dim)
    sizes = sizes_of(published("esl_h_clip"), config)
    assert list(clip.other_values(CLIPText(sizes.source.settings, small(), config), "f30k")) == said
    assert options(sizes, "f30k")["clip_arch"] == "none of OpenAI's"


def test_a_rule_counts_from_where_the_released_code_counts_and_knows_whole_names_from_beginnings() -> None:
    rule = Rule("kernel_#.weight", ("kernels.#",), first=1)
    assert rule.to_ours("kernel_1.weight") == ("kernels.0",) and rule.to_released("kernels.10") == "kernel_11.weight"
    assert rule.to_ours("kernel_0.weight") is None and rule.to_ours("kernel_1.weights") is None
    whole, beginning = Rule("proj", ("p",)), Rule("proj.", ("p.",))
    assert whole.to_ours("proj.weight") is None and beginning.to_ours("proj.weight") == ("p.weight",)
    assert beginning.to_ours("proj.") is None
