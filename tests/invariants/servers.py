"""The two servers and the secrets (invariants.md I12, I23, I25)."""

from __future__ import annotations

from pathlib import Path

from alphatrader.contract.key import Server
from alphatrader.contract.keys import find
from tests.invariants.evidence import Evidence
from tests.invariants.verdict import Verdict, judge

POLICIES = {str(Server.STATE): "noeviction", str(Server.DATA): "volatile-lru"}
PIECE = 1 << 20


@judge("I12 lifetimes", "policy", "evicted", "declared", "lifetime", "memory")
def lifetimes(evidence: Evidence, verdict: Verdict) -> None:
    """Each key is declared and lives as declared; the state server never evicts; both alarm at 70 % of their memory."""
    by_setting = {"market.ttl_seconds": evidence.settings.market.ttl_seconds}
    for name, facts in evidence.servers.items():
        verdict.holds("policy", facts.policy == POLICIES[name], f"{name} has {facts.policy}")
        if name == str(Server.STATE):
            verdict.holds("evicted", facts.evicted == 0, f"{name} evicted {facts.evicted} keys")
        full = facts.memory_share >= evidence.settings.watchdog.memory_alarm_share
        told = evidence.alarmed(0, 2**63, "memory")
        verdict.holds("memory", not full or told, f"{name} is {facts.memory_share:.0%} full, and nobody was told")
        for key_name, left in facts.ttl_ms.items():
            if left == -2 or key_name.startswith("celery:"):
                continue  # gone since it was listed, or the task queue's own
            key = find(key_name)
            if not verdict.holds("declared", key is not None, f"{key_name} on {name} is declared nowhere"):
                continue
            assert key is not None
            most = by_setting.get(key.ttl_setting or "", key.ttl_seconds)
            sound = left == -1 if most is None else 0 <= left <= most * 1000
            verdict.holds("lifetime", sound, f"{key_name} has {left} ms left, declared are {most} s")


@judge("I23 no secret", "logs", "servers' logs", "journals", "wire logs")
def no_secret(evidence: Evidence, verdict: Verdict) -> None:
    """No secret of ours in a log, in what the servers were told, in a journal, or in what crossed the wire to the broker."""
    if not evidence.secrets:
        return
    for name, text in evidence.logs.items():
        verdict.holds("logs", not any(secret in text for secret in evidence.secrets), f"a secret stands in {name}")
    wanted = [secret.encode() for secret in evidence.secrets]
    for kind, paths in evidence.haystacks.items():
        for path in filter(Path.exists, paths):  # a server may have written its log anew meanwhile
            verdict.holds(kind, not holds_any(path, wanted), f"a secret stands in {path.name}")


def holds_any(path: Path, wanted: list[bytes]) -> bool:
    """Whether any of these stands in the file; read in pieces that overlap."""
    overlap = max(map(len, wanted))
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            if any(secret in tail + piece for secret in wanted):
                return True
            tail = piece[-overlap:]
    return False


@judge("I25 own users", "default", "orders", "tiers")
def own_users(evidence: Evidence, verdict: Verdict) -> None:
    """On the state server nobody is everybody: the default user is off, only execution may write orders, only pages tiers."""
    if not evidence.users:
        return
    verdict.holds("default", evidence.users.get("default", "").startswith("off"), "the default user is on")
    for user, rules in evidence.users.items():
        writes = [rule for rule in rules.split() if rule.startswith("~")]
        if user in ("default", "state", "redis"):
            continue
        orders = [rule for rule in writes if rule.startswith(("~orders:", "~ledger:orders", "~*"))]
        verdict.holds("orders", not orders or user == "execution", f"{user} may write {orders}")
        tiers = [rule for rule in writes if rule.startswith(("~telegram:user:", "~subscribers", "~*"))]
        verdict.holds("tiers", not tiers or user == "pages", f"{user} may write {tiers}")
