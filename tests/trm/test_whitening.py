"""What whitening does to states: their mean, each direction's variance, and to a TRM that holds it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.trm import checkpoint
from kit.trm import whitening as module
from kit.trm.whitening import LARGEST, RIDGE, Whitening
from tests.trm import tiny_trm

SIZE = 8


def states(seed: int = 0) -> torch.Tensor:
    """Some directions have most of the energy, and all have a mean."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.diag(torch.tensor([9.0, 5, 2, 1, 1, 1, 1, 1]))
    return torch.randn(4000, SIZE, generator=generator) @ scales + 2.0


@given(seed=st.integers(0, 100))
def test_the_mean_is_zero_and_each_direction_has_its_share_of_variance_and_ridge(seed: int) -> None:
    whitening = Whitening(1, SIZE).double()
    hidden_ND = states(seed).double()
    normed_ND = hidden_ND / hidden_ND.square().mean(-1, keepdim=True).sqrt()
    before_D = torch.linalg.eigvalsh(normed_ND.T.cov(correction=0))
    whitening.fit([hidden_ND])
    white_ND = whitening(hidden_ND, 0)
    after_D = torch.linalg.eigvalsh(white_ND.T.cov(correction=0))
    assert float(white_ND.mean(0).abs().max()) < 1e-6
    torch.testing.assert_close(after_D, before_D / (before_D + RIDGE * before_D.mean()), rtol=1e-3, atol=1e-3)


def test_before_it_is_made_it_changes_nothing_but_the_length() -> None:
    hidden_ND = states()
    white_ND = Whitening(1, SIZE)(hidden_ND, 0)
    torch.testing.assert_close(white_ND, torch.nn.functional.rms_norm(hidden_ND, (SIZE,), eps=1e-5))


def test_a_state_far_out_is_cut() -> None:
    whitening = Whitening(1, SIZE)
    whitening.fit([states()])
    whitening.mean_LD.sub_(100.0)
    assert float(whitening(states(), 0).abs().max()) == LARGEST


def test_directions_that_never_vary_stay_finite() -> None:
    whitening = Whitening(1, SIZE)
    whitening.fit([torch.ones(4, SIZE) + torch.randn(4, 1) * torch.eye(SIZE)[0]])
    assert bool(whitening(states(), 0).isfinite().all())


def test_many_states_give_what_all_of_them_at_once_would(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, in_pieces = Whitening(1, SIZE).double(), Whitening(1, SIZE).double()
    at_once.fit([states()])
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 999)
    in_pieces.fit([states()])
    torch.testing.assert_close(in_pieces.mean_LD, at_once.mean_LD, rtol=0, atol=1e-12)
    torch.testing.assert_close(in_pieces.map_LDD, at_once.map_LDD, rtol=0, atol=1e-10)


def test_each_hidden_state_has_its_own() -> None:
    whitening = Whitening(2, SIZE)
    whitening.fit([states(1), 3 * states(2) + 1.0])
    alone = Whitening(1, SIZE)
    alone.fit([3 * states(2) + 1.0])
    assert torch.equal(whitening(states(3), 1), alone(states(3), 0))


@pytest.mark.parametrize("layers", [(-1,), (0, 2, -1)])
def test_it_is_saved_with_its_trm_and_is_not_trained(layers: tuple[int, ...], tmp_path: Path) -> None:
    model = tiny_trm.language_model(dtype=torch.float32, feature_layers=layers, whitened=True)
    assert not any("whitening" in name for name, _ in model.trm.named_parameters())
    model.backbone.save_pretrained(tmp_path / "backbone")
    checkpoint.save(model.trm, tmp_path / "trm", backbone_folder=tmp_path / "backbone")
    loaded = checkpoint.load(tmp_path / "trm", model.backbone, backbone_folder=tmp_path / "backbone")
    ids_BT = tiny_trm.ids(1, 9)
    assert torch.equal(loaded(ids_BT, depth=3).logits, model(ids_BT, depth=3).logits)
    plain = tiny_trm.language_model(dtype=torch.float32, feature_layers=layers)
    assert not torch.allclose(plain(ids_BT, depth=3).logits, model(ids_BT, depth=3).logits)
