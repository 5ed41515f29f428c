import numpy as np
import pytest
import torch
from features import MADE_BY, normal, observed
from hypothesis import given, settings
from hypothesis import strategies as st

from cascore.errors import InputError
from cascore.metrics import ExtractorIdentity, FeatureMoments


def test_moments_are_numpys():
    features = normal(50, 7, seed=0) * torch.arange(1, 8) + 3
    moments = observed(features)
    assert moments.count == 50
    np.testing.assert_allclose(moments.mean, features.numpy().mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        moments.covariance, np.cov(features.numpy(), rowvar=False), rtol=1e-12, atol=1e-12
    )
    assert moments.covariance.dtype == torch.float64


@settings(deadline=None, max_examples=40, derandomize=True)
@given(cuts=st.lists(st.integers(0, 40), max_size=5))
def test_any_split_streams_and_merges_to_the_same(cuts):
    features = normal(40, 3, seed=1) + 5
    parts = features.tensor_split(sorted(cuts))
    whole = observed(features)
    streamed = merged = observed(torch.empty(0, 3))
    for part in parts:
        streamed = streamed.update(part)
    for part in reversed(parts):
        merged = observed(part).merge(merged)
    for moments in (streamed, merged):
        assert moments.count == 40
        torch.testing.assert_close(moments.mean, whole.mean, rtol=1e-13, atol=0)
        torch.testing.assert_close(moments.covariance, whole.covariance, rtol=1e-12, atol=1e-13)


def test_a_large_offset_costs_no_digits():
    # E[x²] - E[x]² would be off by 1e16 * 1e-16, as large as the variance itself.
    features = normal(1000, 2, seed=2)
    near = observed(torch.empty(0, 2))
    far = observed(torch.empty(0, 2))
    for part in features.split(100):
        near, far = near.update(part), far.update(part + 1e8)
    # Adding 1e8 itself rounds each feature by up to 1e-8.
    torch.testing.assert_close(far.covariance, near.covariance, rtol=0, atol=1e-7)


def test_low_precision_features_are_summed_in_float64():
    features = (normal(3000, 2, seed=3) + 100).to(torch.float16)
    moments = observed(features)
    np.testing.assert_allclose(moments.mean, features.double().mean(dim=0), rtol=1e-13)


def test_updates_leave_the_old_moments_alone():
    first = observed(normal(4, 2, seed=4))
    mean, scatter = first.mean.clone(), first.scatter.clone()
    first.update(normal(9, 2, seed=5))
    assert first.count == 4
    assert torch.equal(first.mean, mean)
    assert torch.equal(first.scatter, scatter)


def test_constant_features_have_no_covariance():
    moments = FeatureMoments.of(torch.full((6, 3), 2.5), extractor=MADE_BY)
    assert torch.equal(moments.covariance, torch.zeros(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("count", [0, 1])
def test_a_covariance_needs_two(count):
    moments = observed(torch.ones(count, 3))
    assert moments.count == count
    with pytest.raises(
        InputError, match=f"at least 2 feature vectors, these moments count {count}"
    ):
        _ = moments.covariance


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_broken_features_are_counted_and_refused(value):
    features = torch.zeros(5, 3)
    features[1, 0] = features[1, 2] = features[4, 1] = value
    with pytest.raises(InputError, match="2 of 5 rows hold NaN or infinity"):
        observed(features)


@pytest.mark.parametrize(
    "features",
    [torch.zeros(3), torch.zeros(2, 3, 1), torch.zeros(2, 0), torch.zeros(2, 3, dtype=torch.uint8)],
)
def test_features_of_another_form_are_refused(features):
    with pytest.raises(InputError, match=r"expected (floating point )?\[N, "):
        observed(features)


def test_what_cannot_be_merged():
    ours = observed(torch.zeros(2, 3))
    with pytest.raises(InputError, match="3 and of 4 dimensions"):
        ours.update(torch.zeros(2, 4))
    theirs = FeatureMoments.of(
        torch.zeros(2, 3), extractor=ExtractorIdentity(name="other", digest="1" * 64)
    )
    with pytest.raises(InputError, match=r"'test' \(digest 000000000000\) and 'other'"):
        ours.merge(theirs)
    with pytest.raises(InputError, match="features are"):
        observed(torch.empty(0, 0))
