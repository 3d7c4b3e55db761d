"""Host identities: which records, comparisons and stored figures belong to one host."""

# ruff: noqa: SIM300  expected == actual

import msgspec
import pytest
from answers import answering

from mnbench.analysis.cost_models import fit_cost_models
from mnbench.hosts.host_facts import host_fingerprint
from mnbench.results.by_device import table_by_device
from mnbench.results.host_identity import HostIdentity, host_difference
from mnbench.results.latency_table import newest_records

FACTS = {
    "cpu": "EPYC",
    "cpu_vendor": "AMD",
    "cpu_family": 25,
    "cpu_model": 0,
    "cpu_stepping": 1,
    "cpu_flags": ["avx2"],
    "core_kinds": {},
    "machine": "x86_64",
    "cores": 2,
    "caches": [{"level": 1, "size_bytes": 32768}],
    "memory_bytes": 25_276_514_304,
    "hypervisor": None,
    "emulated": False,
    "kernel": "6.1",
    "board": "one",
}


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "Xeon"},
        {"cpu_vendor": "Intel"},
        {"cpu_family": 6},
        {"cpu_model": 1},
        {"cpu_stepping": 2},
        {"cpu_flags": ["avx2", "avx512f"]},
        {"core_kinds": {"performance": "0"}},
        {"machine": "aarch64"},
        {"cores": 4},
        {"caches": [{"level": 1, "size_bytes": 65536}]},
        {"memory_bytes": 12_000_000_000},
        {"hypervisor": "KVM"},
        {"emulated": True},
    ],
)
def test_another_host(change):
    """Another processor, other memory or another hypervisor is another host, and the difference is named."""
    assert HostIdentity.from_facts(FACTS) != HostIdentity.from_facts(FACTS | change)
    (fact,) = change
    assert host_difference(FACTS, FACTS | change).startswith(fact.removesuffix("_bytes"))


@pytest.mark.parametrize(
    "change",
    [
        {"kernel": "6.2"},
        {"board": "two"},
        {"memory_bytes": 25_200_000_000},
        {"emulated": None},
        {"caches": FACTS["caches"]},
    ],
)
def test_the_same_host(change):
    """A new kernel, another board of the same kind, and facts that an old record lacks make no other host."""
    assert HostIdentity.from_facts(FACTS) == HostIdentity.from_facts(FACTS | change)
    assert "" == host_difference(FACTS, FACTS | change)


def test_a_gpu_is_part_of_the_host():
    """The same machine with another GPU is another host."""
    gpus = [HostIdentity.from_facts(FACTS, gpu) for gpu in (None, {"name": "H100"}, {"name": "H200"})]
    assert 3 == len(set(gpus))


@pytest.mark.parametrize(
    ("facts", "gpu", "name"),
    [
        (FACTS | {"cpu": "AMD EPYC"}, None, "EPYC 25/0/1, 2 cores"),
        (FACTS | {"cpu": "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz"}, None, "Xeon Gold 6148 25/0/1, 2 cores"),
        (FACTS, {"name": "NVIDIA H100", "mig": False}, "NVIDIA H100, EPYC 25/0/1, 2 cores"),
        (FACTS | {"emulated": True, "machine": "aarch64", "cores": 1}, None, "emulated EPYC, 1 core"),
        (
            {"cpu": "4 × Cortex-A76 + 4 × Cortex-A55", "machine": "aarch64", "cores": 8, "cpu_family": 8},
            None,
            "4 × Cortex-A76 + 4 × Cortex-A55, 8 cores",
        ),
        ({}, None, "unknown processor"),
    ],
)
def test_a_host_has_a_short_name_and_the_beginning_of_its_digest(facts, gpu, name):
    """The processor's name without what its maker writes on each, the numbers of its model, its cores."""
    host = HostIdentity.from_facts(facts, gpu)
    assert f"{name}, #{host.digest[:4]}" == str(host)
    assert all(map(host.matches, (str(host), name, host.digest, f"#{host.digest[:4]}")))
    assert not any(map(host.matches, ("", "#", host.digest[:3], "EPYC")))


def test_records_of_two_hosts_of_one_cpu_name_are_not_mixed(make_record):
    """Neither in a table, nor side by side, nor in a fit."""
    records = [make_record(host=FACTS), make_record(host=FACTS | {"cores": 4}), make_record(0.5, host=FACTS)]
    assert 3 == len(newest_records(records))
    assert 2 == len({record.setting for record in records})
    assert 2 == len(fit_cost_models(records))
    names = [column.name for column in table_by_device(records).columns]
    assert [f"cpu {record.host_identity}.latency_ns" for record in records[:2]] == names[-2:]


def test_stored_figures_belong_to_one_host(make_device, monkeypatch):
    """A roofline or a drift that was measured on another host of the same name is not used."""
    facts = [FACTS, FACTS | {"cpu_stepping": 2}]
    messages = [{"facts": host, "runtime_version": "1"} for host in facts]
    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", answering(*messages))
    first, second = host_fingerprint(make_device()), host_fingerprint(make_device())
    assert first | {"host": second["host"]} == second != first


def test_a_newer_record_of_the_same_setting_replaces_an_older(make_record):
    """Whatever else of the host changed."""
    records = [
        make_record(host=FACTS),
        make_record(host=msgspec.json.decode(msgspec.json.encode(FACTS | {"kernel": "7"}))),
    ]
    assert [records[1]] == newest_records(records)
