"""DINOv2 and CLIP as extractors: the networks of transformers, small and with random weights."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from cascore.errors import InputError, MissingExtraError
from cascore.metrics import load_extractor

transformers = pytest.importorskip("transformers")

VISION = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 14,
    "image_size": 56, "intermediate_size": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The files of both, as `hf download` puts them."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    dinov2 = transformers.Dinov2Model(transformers.Dinov2Config(**VISION))
    dinov2.save_pretrained(folder / "dinov2")
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 99}
    vision = {**VISION, "projection_dim": 24}
    config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)
    transformers.CLIPModel(config).save_pretrained(folder / "clip")
    return folder


def images(side, count=3):
    generator = torch.Generator().manual_seed(side)
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def normalised(pixels, mean, deviation):
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (mean, deviation))
    return (pixels.float() / 255 - mean) / deviation


def test_dinov2_gives_the_normalised_class_token(root):
    extractor, pixels = load_extractor("dinov2", root=root), images(224)
    model = transformers.Dinov2Model.from_pretrained(root / "dinov2").eval()
    x = normalised(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        expected = model(x).last_hidden_state[:, 0]
    torch.testing.assert_close(extractor(pixels), expected)
    assert (extractor.identity.name, extractor.dimension) == ("dinov2", 32)
    assert extractor(images(32)[:, :1]).shape == (3, 32)  # small and grey is brought to it


def test_clip_gives_the_projected_embedding_of_images(root):
    """Which the whole model, text and all, makes too."""
    extractor, pixels = load_extractor("clip", root=root), images(56)
    model = transformers.CLIPModel.from_pretrained(root / "clip").eval()
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    with torch.no_grad():
        seen = model.vision_model(normalised(pixels, mean, deviation)).pooler_output
        expected = model.visual_projection(seen)
    torch.testing.assert_close(extractor(pixels), expected)
    assert (extractor.identity.name, extractor.dimension) == ("clip", 24)


def test_other_weights_have_another_digest(root, tmp_path):
    (tmp_path / "dinov2").mkdir()
    tensors = load_file(root / "dinov2" / "model.safetensors")
    tensors["layernorm.bias"] = tensors["layernorm.bias"] + 1
    save_file(tensors, tmp_path / "dinov2" / "model.safetensors", metadata={"format": "pt"})
    config = (root / "dinov2" / "config.json").read_text()
    (tmp_path / "dinov2" / "config.json").write_text(config)
    one, other = (load_extractor("dinov2", root=folder) for folder in (root, tmp_path))
    assert one.identity.digest == load_extractor("dinov2", root=root).identity.digest
    assert one.identity.digest != other.identity.digest


def test_files_that_are_not_the_network_are_refused_and_their_code_is_not_run(root, tmp_path):
    with pytest.raises(InputError, match="hf download facebook/dinov2-large"):
        load_extractor("dinov2", root=tmp_path)
    folder = tmp_path / "dinov2"
    folder.mkdir()
    tensors = load_file(root / "dinov2" / "model.safetensors")
    said = json.loads((root / "dinov2" / "config.json").read_text())
    whole, lacking = dict(tensors), dict(tensors)
    lacking.pop("layernorm.bias")
    (folder / "modeling.py").write_text("raise SystemExit('run')\n")
    code = {"auto_map": {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"}}
    for weights, config, told in (
        (lacking, said, "lacks 1 tensors of dinov2: layernorm.bias"),
        (whole, {**said, "model_type": "clip"}, "does not say that its model is dinov2"),
        (whole, {**said, "hidden_size": "x"}, "cannot be read as weights of dinov2"),
        (whole, {**said, "hidden_size": 64}, "cannot be read as weights of dinov2|lacks"),
    ):
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps({**config, **code}))
        with pytest.raises(InputError, match=told):
            load_extractor("dinov2", root=tmp_path)
    (folder / "config.json").write_text(json.dumps({**said, **code}))
    assert load_extractor("dinov2", root=tmp_path).dimension == 32


def test_what_transformers_says_elsewhere_is_left_as_it_was(root, tmp_path):
    """Whether the weights are read or refused."""
    logging = transformers.logging
    before = logging.get_verbosity()
    shutil.copytree(root / "dinov2", tmp_path / "dinov2")
    (tmp_path / "dinov2" / "model.safetensors").write_bytes(b"none")
    try:
        for chosen in (logging.INFO, logging.CRITICAL):
            logging.set_verbosity(chosen)
            load_extractor("dinov2", root=root)
            with pytest.raises(InputError):
                load_extractor("dinov2", root=tmp_path)
            assert logging.get_verbosity() == chosen
    finally:
        logging.set_verbosity(before)


def test_without_the_extra_it_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"transformers.*cascore\[features\]"):
        load_extractor("clip", root=root)
