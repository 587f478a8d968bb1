"""Ensembles: how members answer together, and how they are kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from kikuchipy_cnn import Ensemble, SpaceGroupClasses, load_model
from kikuchipy_cnn.models import BundleError, as_model, build_network, describe_model
from kikuchipy_cnn.uncertainty import Detector, Rejection, RiskCoverage, mutual_information, spread
from kikuchipy_cnn.uncertainty.rejection import SHARES, Limits


@pytest.fixture(scope="module")
def members(tiny_bundle):
    import keras

    def member(seed):
        keras.utils.set_random_seed(seed)
        network = build_network("tiny", (32, 32, 1), 3)
        return replace(tiny_bundle, name=f"member {seed}", network=network, temperature=0.2)

    return tuple(member(seed) for seed in (1, 2, 3))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(5, 32, 32, 1)).astype(np.float32)


def detector(n_features, bias):
    n = n_features + 4
    return Detector(np.zeros(n), np.ones(n), np.zeros((n, 3)), np.log(bias) - np.log(SHARES))


class TestOutputs:
    def test_mean(self, members, images):
        each = np.array([member.predict_probabilities(images) for member in members])
        outputs = Ensemble("three", members).outputs(images)
        assert outputs.probabilities == pytest.approx(each.mean(axis=0), abs=1e-6)
        assert outputs.mutual_information == pytest.approx(mutual_information(each), abs=1e-6)
        assert outputs.spread == pytest.approx(spread(each), abs=1e-6)
        assert np.ptp(each, axis=0).max() > 0.01
        assert outputs.kinds is None

    def test_temperature_acts_on_the_mean(self, members, images):
        mean = Ensemble("three", members).predict_probabilities(images)
        colder = Ensemble("three", members, temperature=0.5).predict_probabilities(images)
        assert colder == pytest.approx(softmax(np.log(mean) / 0.5, axis=1), abs=1e-5)

    def test_kinds_are_the_mean_of_those_that_tell(self, members, images):
        first = replace(members[0], detector=detector(32, [0.6, 0.3, 0.1]))
        second = replace(members[1], detector=detector(32, [0.2, 0.7, 0.1]))
        outputs = Ensemble("three", (first, second, members[2])).outputs(images)
        assert outputs.kinds == pytest.approx(np.tile([0.4, 0.5, 0.1], (5, 1)), abs=1e-6)

    def test_no_probability_is_lost(self, members, images):
        sure = tuple(replace(member, temperature=1e-3) for member in members)
        probabilities = Ensemble("sure", sure, temperature=0.1).predict_probabilities(images)
        assert np.isfinite(probabilities).all()
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(5))


class TestChecks:
    def test_one_is_none(self, members):
        with pytest.raises(ValueError, match="ensemble of 1 model"):
            Ensemble("one", members[:1])

    def test_other_classes(self, members):
        other = replace(members[1], classes=SpaceGroupClasses((221, 225, 227)))
        with pytest.raises(ValueError, match="tells apart .*same classes"):
            Ensemble("two", (members[0], other))

    def test_other_preprocessing(self, members):
        other = replace(members[1], transform=replace(members[1].transform, clip=2.0))
        with pytest.raises(ValueError, match=r"clip=2\.0"):
            Ensemble("two", (members[0], other))

    def test_temperature(self, members):
        with pytest.raises(ValueError, match="temperature=0"):
            Ensemble("two", members[:2], temperature=0)


class TestFolder:
    @pytest.fixture
    def saved(self, members, tmp_path):
        curve = RiskCoverage.from_scores(np.array([0.9, 0.2]), np.array([False, True]))
        first = replace(members[0], detector=detector(32, [0.6, 0.3, 0.1]))
        ensemble = Ensemble(
            "mine",
            (first, *members[1:]),
            0.8,
            "# mine\n",
            {"a": 1},
            Rejection(curve, Limits(0.3), "some"),
        )
        return ensemble, ensemble.save(tmp_path / "mine")

    def test_round_trip(self, saved, images):
        ensemble, folder = saved
        again = load_model(folder)
        assert isinstance(again, Ensemble)
        assert [member.name for member in again.members] == ["member 1", "member 2", "member 3"]
        assert (again.temperature, again.card, again.training) == (0.8, "# mine\n", {"a": 1})
        assert again.rejection.to_dict() == ensemble.rejection.to_dict()
        for found, expected in zip(again.outputs(images), ensemble.outputs(images), strict=True):
            # Weights have 16 bits on disk.
            assert found == pytest.approx(expected, abs=0.02)

    def test_description(self, saved):
        description = describe_model(saved[1])
        assert description["architecture"] == "3 x tiny"
        assert description["input_shape"] == [32, 32, 1]
        assert description["space_groups"] == [221, 225, 229]

    @pytest.mark.parametrize("file", ["1/weights.npz", "0/detector.npz", "2/bundle.json"])
    def test_altered_member(self, saved, file):
        path = saved[1] / file
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(BundleError, match="is not the file that was saved"):
            load_model(saved[1])

    def test_missing_member(self, saved):
        (saved[1] / "1" / "weights.npz").unlink()
        with pytest.raises(BundleError, match=r"weights\.npz cannot be read"):
            load_model(saved[1])

    def test_file_from_elsewhere(self, saved):
        from kikuchipy_cnn.models._folder import _sha256_of_description

        path = saved[1] / "bundle.json"
        description = json.loads(path.read_text())
        description["sha256"]["../secret"] = "0"
        description["sha256"]["bundle.json"] = _sha256_of_description(description)
        path.write_text(json.dumps(description))
        with pytest.raises(BundleError, match="lies elsewhere"):
            load_model(saved[1])


class TestAsModel:
    def test_list(self, members, images):
        ensemble = as_model(list(members[:2]))
        assert isinstance(ensemble, Ensemble)
        assert ensemble.name == "member 1 + member 2"
        expected = Ensemble("two", members[:2]).predict_probabilities(images)
        assert (ensemble.predict_probabilities(images) == expected).all()

    def test_ensembles_are_taken_apart(self, members):
        ensemble = as_model([Ensemble("two", members[:2]), members[2]])
        assert ensemble.members == members

    def test_calibrated_as_a_whole(self, members):
        """What holds for all members together does not hold for them beside others."""
        for ensemble in (Ensemble("cold", members[:2], 0.5), load_model("ensemble_fewshot")):
            with pytest.raises(ValueError, match=f"'{ensemble.name}' .*list its members: load_mo"):
                as_model([ensemble, members[2]])

    def test_one_stays(self, members):
        assert as_model(members[0]) is members[0]

    def test_paths(self, members, tmp_path):
        folders = [member.save(tmp_path / member.name) for member in members[:2]]
        assert [member.name for member in as_model(folders).members] == ["member 1", "member 2"]


def test_materials_of_all_members(members):
    known = {"materials": [[225, "Ni"]], "start_materials": []}
    other = {"materials": [[229, "Fe"]], "start_materials": []}
    first, second = (
        replace(member, training=training)
        for member, training in zip(members[:2], (known, other), strict=True)
    )
    assert Ensemble("two", (first, second)).trained_materials == {(225, "Ni"), (229, "Fe")}
    assert Ensemble("three", (first, second, members[2])).trained_materials is None
