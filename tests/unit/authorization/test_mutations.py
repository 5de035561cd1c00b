"""The decision table notices every change to the decision.

Each mutant is the authorization package with one text of one module replaced, loaded beside the real one. A text
that is not found exactly once fails: the code has moved, and the mutant with it.
"""

import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import pytest

from strongroom import authorization
from tests.unit.authorization.asked import Engine, agrees
from tests.unit.authorization.decisions.table import TABLE

_FOLDER = Path(authorization.__path__[0])
_MODULES = (
    "request",
    "ground",
    "patterns",
    "principals",
    "operators",
    "conditions",
    "policy",
    "documents",
    "identity",
    "grants",
    "decide",
)
"""Each module after those that it imports."""


class Mutant(NamedTuple):
    """`step` says what is broken: `old`, which is in `module` once, becomes `new`."""

    step: str
    module: str
    old: str
    new: str


MUTANTS = (
    # The numbered steps of decide.py
    Mutant("1: no explicit denials", "decide", "policy)  # 1\n    if denial is not None:",
           "policy)  # 1\n    if False:"),
    Mutant("1: none in the key policy", "decide", "if policy is not None and policy.denies:", "if False:"),
    Mutant("1: none in identity policies", "decide", "*((IDENTITY_POLICY, policy) for policy in identity.policies),",
           ""),
    Mutant("1: none in the boundary", "decide", "*((PERMISSIONS_BOUNDARY, policy) for policy in boundary),", ""),
    Mutant("1: none in session policies", "decide",
           "*((SESSION_POLICY, policy) for policy in identity.session_policies or ()),", ""),
    Mutant("2: the key policy allows nobody", "decide", "if statement is not None:\n        leave",
           "if False:\n        leave"),
    Mutant("2: the first statement counts, not the most direct", "decide", "if best >= enough:", "if best:"),
    Mutant("2: the last statement counts", "decide", "if naming > best and statement.applies",
           "if naming and statement.applies"),
    Mutant("2: any statement counts that names the caller", "decide",
           "if naming > best and statement.applies(request):", "if naming > best:"),
    Mutant("2: any statement counts that is about the request", "decide",
           "if naming > best and statement.applies(request):", "if statement.applies(request):"),
    Mutant("3: no grants", "decide", "if grants:  # 3", "if False:"),
    Mutant("3: grants without their constraints", "decide", "if not permits(grant, request):", "if False:"),
    Mutant("3: grants by the caller's own name alone", "decide", "names += [(Naming.ISSUER, name) for",
           "names += [(Naming.ISSUER, name) for name in () for"),
    Mutant("3: no grants by account", "decide", "names.append((Naming.ACCOUNT, root_arn(principal.account)))", "pass"),
    Mutant("3: a grant to a role names its sessions", "decide", "names += [(Naming.ISSUER,",
           "names += [(Naming.DIRECTLY,"),
    Mutant("3: a grant to an account names its users", "decide", "names.append((Naming.ACCOUNT,",
           "names.append((Naming.DIRECTLY,"),
    Mutant("4: a named caller needs the account's leave", "decide", "is_root_user or naming is Naming.DIRECTLY:",
           "is_root_user:"),
    Mutant("4: the root user needs policies", "decide", "if identity.principal.is_root_user or naming is",
           "if naming is"),
    Mutant("4: a role is as good as a session", "decide", "naming is Naming.DIRECTLY:\n        return _Leave()",
           "naming >= Naming.ISSUER:\n        return _Leave()"),
    Mutant("4: an account is as good as its users", "decide", "naming is Naming.DIRECTLY:\n        return _Leave()",
           "naming >= Naming.ACCOUNT:\n        return _Leave()"),
    Mutant("4: a role needs the identity policy too", "decide", "if naming is Naming.ACCOUNT:\n        limits",
           "if True:\n        limits"),
    Mutant("4: no identity policy is needed", "decide", "if naming is Naming.ACCOUNT:\n        limits",
           "if False:\n        limits"),
    Mutant("4: the boundary does not limit", "decide", "if identity.boundary is not None:\n        limits",
           "if False:\n        limits"),
    Mutant("4: session policies do not limit", "decide", "if identity.session_policies is not None:\n        limits",
           "if False:\n        limits"),
    Mutant("4: a session without policies counts as one with empty ones", "decide",
           "if identity.session_policies is not None:\n        limits.append((SESSION_POLICY, "
           "identity.session_policies))",
           "limits.append((SESSION_POLICY, identity.session_policies or ()))"),
    Mutant("4: one kind of policy that allows is enough", "decide", "return _Leave(lacks=policy_type)", "continue"),
    Mutant("5: other accounts are as this one", "decide", "naming if at_home else Naming.ACCOUNT", "naming"),
    Mutant("5: this account is as the others", "decide", "naming if at_home else Naming.ACCOUNT", "Naming.ACCOUNT"),
    Mutant("5: a service needs policies", "decide",
           'at_home = principal.account == account or principal.kind == "AWSService"',
           "at_home = principal.account == account"),
    Mutant("6: everybody else is allowed", "decide",
           "missing = _no_allow(request, identity, policy, lacks or KEY_POLICY)  # 6\n    raise ",
           'return AuthorizedKey(_DECIDED, key, principal, Decision(request.action, "Allow", ()))\n    raise '),
    Mutant("6: what lacks is not told", "decide", "policy, lacks or KEY_POLICY)", "policy, KEY_POLICY)"),
    Mutant("6: foreigners are told", "decide", "if request.principal.account != key.account:", "if False:"),
    Mutant("6: nobody is told", "decide", "if request.principal.account != key.account:", "if True:"),
    Mutant("without a key: no explicit denials", "decide",
           "ground = _explicit_denial(request, identity, policy)\n    naming", "ground = None\n    naming"),
    Mutant("without a key: no leave is needed", "decide",
           "if leave.lacks is None:\n            first", "if True:\n            first"),
    Mutant("retiring: no explicit denials", "decide", "policy)\n    if denial is not None:", "policy)\n    if False:"),
    Mutant("retiring: not the retiring principal", "decide", "named = {grant.retiring_id or grant.retiring_principal,",
           "named = {"),
    Mutant("retiring: not the account", "decide", "root_arn(grant.issuing_account)}", "}"),
    Mutant("retiring: every grantee", "decide", 'if "RetireGrant" in grant.operations:', "if True:"),
    Mutant("retiring: no grantee", "decide", 'if "RetireGrant" in grant.operations:', "if False:"),
    Mutant("retiring: anybody", "decide", "if name in named:", "if True:"),
    # Policies
    Mutant("a deny is meant for everybody", "policy", "return self.principals.naming(principal) is not Naming.NOT",
           "return True"),
    Mutant("NotPrincipal is Principal", "policy", "if self.not_principals:", "if False:"),
    Mutant("actions are case sensitive", "documents", "parse_template(action.lower(),", "parse_template(action,"),
    Mutant("NotAction is Action", "policy", "is not self.not_actions", "is True"),
    Mutant("NotResource is Resource", "policy", "is not self.not_resources", "is True"),
    Mutant("resources do not matter", "policy", "return about and (self.anywhere or", "return about and (True or"),
    Mutant("conditions do not matter", "policy", "if not condition.holds(request):\n                    return False",
           "if not condition.holds(request):\n                    pass"),
    Mutant("variables in every version", "documents", 'variables = document.get("Version") == _WITH_VARIABLES',
           "variables = True"),
    Mutant("variables in no version", "documents", 'variables = document.get("Version") == _WITH_VARIABLES',
           "variables = False"),
    # Principals
    Mutant("an account names its users directly", "principals",
           "return Naming.ACCOUNT if principal", "return Naming.DIRECTLY if principal"),
    Mutant("an account names nobody", "principals",
           "return Naming.ACCOUNT if principal.account in self.accounts else Naming.NOT", "return Naming.NOT"),
    Mutant("a role names its sessions directly", "principals", "return Naming.ISSUER", "return Naming.DIRECTLY"),
    Mutant("a role does not name its sessions", "principals", "return Naming.ISSUER", "return Naming.NOT"),
    Mutant("an ARN names nobody", "principals", "self.anyone or principal.arn in self.names", "self.anyone"),
    Mutant("everybody is nobody", "principals", "if self.anyone or principal.arn in self.names",
           "if principal.arn in self.names"),
    Mutant("services are nobody", "principals", "services | arns", "frozenset(arns)"),
    Mutant("identity providers are nobody", "principals", "principal.federated_provider in self.providers", "False"),
    Mutant("NotPrincipal spares a whole account", "principals",
           "return naming > Naming.ACCOUNT and principal.account in self.accounts", "return naming is not Naming.NOT"),
    Mutant("NotPrincipal spares nobody", "principals",
           "return naming > Naming.ACCOUNT and principal.account in self.accounts", "return False"),
    # Conditions
    Mutant("a missing key holds", "conditions", "if not values:\n            return self.when_absent",
           "if not values:\n            return True"),
    Mutant("a missing key does not hold", "conditions", "if not values:\n            return self.when_absent",
           "if not values:\n            return False"),
    Mutant("IfExists is nothing", "conditions", 'when_absent=bool(parsed["if_exists"]) or every', "when_absent=every"),
    Mutant("ForAllValues needs a value", "conditions", 'bool(parsed["if_exists"]) or every or',
           'bool(parsed["if_exists"]) or'),
    Mutant("a negated operator needs a value", "conditions", "or (row.negated and not some)", ""),
    Mutant("ForAllValues is ForAnyValue", "conditions", "(all if every is not row.negated else any) if every",
           "any if every"),
    Mutant("ForAnyValue is ForAllValues", "conditions", "(all if every is not row.negated else any) if every",
           "all if every"),
    Mutant("several values need no set operator", "conditions", "if every or some else _several,",
           "if every or some else any,"),
    Mutant("a variable may have several values", "patterns", "() if part.name in MULTIVALUED else request",
           "request"),
    Mutant("a variable anywhere in an ARN", "documents", 'before.count(":") < _COLONS', "False"),
    Mutant("one value is not negated", "conditions", "self.accepts(value, request) is not self.negated",
           "self.accepts(value, request)"),
    Mutant("several values are not negated", "conditions", "for value in values]) is not self.negated",
           "for value in values])"),
    Mutant("Null true is Null false", "conditions", 'when_absent="true" in wanted', 'when_absent="false" in wanted'),
    Mutant("Null says that a key is there", "operators", "there = False in", "there = True or False in"),
    Mutant("names of keys are case sensitive", "conditions", "        name.lower(),\n        accepts,",
           "        name,\n        accepts,"),
    Mutant("an ARN's parts are counted from its end", "operators", 'parts = value.split(":", _ARN_PARTS - 1)',
           'parts = value.rsplit(":", _ARN_PARTS - 1)'),
    *(Mutant(f"{name} is {other}", "operators", f'"{name}": Operator({row}', f'"{name}": Operator({changed}')
      for name, row, other, changed in (
          ("numericlessthan", "_numeric(operator.lt)", "numericlessthanequals", "_numeric(operator.le)"),
          ("numericlessthanequals", "_numeric(operator.le)", "numericlessthan", "_numeric(operator.lt)"),
          ("numericgreaterthan", "_numeric(operator.gt)", "numericgreaterthanequals", "_numeric(operator.ge)"),
          ("numericgreaterthanequals", "_numeric(operator.ge)", "numericgreaterthan", "_numeric(operator.gt)"),
          ("datelessthan", "_date(operator.lt)", "datelessthanequals", "_date(operator.le)"),
          ("datelessthanequals", "_date(operator.le)", "datelessthan", "_date(operator.lt)"),
          ("dategreaterthan", "_date(operator.gt)", "dategreaterthanequals", "_date(operator.ge)"),
          ("dategreaterthanequals", "_date(operator.ge)", "dategreaterthan", "_date(operator.gt)"),
          ("stringequals", "_string(like=False)", "stringlike", "_string(like=True)"),
          ("stringlike", "_string(like=True)", "stringequals", "_string(like=False)"),
          ("stringequalsignorecase", "_string(like=False, fold=True)", "stringequals", "_string(like=False)"),
          ("arnlike", "_arn", "stringlike", "_string(like=True)"),
      )),
    *(Mutant(f"{name} is not negated", "operators", f'"{name}": Operator({row}, negated=True)',
             f'"{name}": Operator({row})')
      for name, row in (
          ("stringnotequals", "_string(like=False)"),
          ("stringnotequalsignorecase", "_string(like=False, fold=True)"),
          ("stringnotlike", "_string(like=True)"),
          ("numericnotequals", "_numeric(operator.eq)"),
          ("datenotequals", "_date(operator.eq)"),
          ("notipaddress", "_ip_address"),
          ("arnnotequals", "_arn"),
          ("arnnotlike", "_arn"),
      )),
    # Grants
    Mutant("a grant for every operation", "grants", "for operation in grant.operations]",
           'for operation in ("Encrypt", "Decrypt")]'),
    Mutant("an exact context is a subset", "grants", "equals is not None and equals != context:",
           "equals is not None and not equals.items() <= context.items():"),
    Mutant("a subset is an exact context", "grants", "subset is not None and not subset.items() <= context.items():",
           "subset is not None and subset != context:"),
    Mutant("contexts do not matter", "grants", "if context is not None:", "if False:"),
    Mutant("contexts matter everywhere", "grants", "if context is not None:", "context = context or {}\n    if True:"),
    Mutant("source ARNs do not matter", "grants", "if constraints.source_arn is not None and", "if False and"),
    Mutant("what a grant makes does not matter", "grants", "request.proposed is None or _within", "True or _within"),
    Mutant("a child for other operations", "grants", "if not operations <= set(grant.operations):", "if False:"),
    Mutant("a child of an exact context with another", "grants", "if mine.encryption_context_equals is not None and",
           "if False and"),
    Mutant("a child of a subset with another", "grants", "if mine.encryption_context_subset is not None:", "if False:"),
    Mutant("a child of a subset cannot be exact", "grants", "for given in (equals, subset)):",
           "for given in (subset,)):"),
    Mutant("a child from another source", "grants",
           "mine.source_arn is None or constraints.source_arn == mine.source_arn", "True"),
    # Wildcards and variables
    Mutant("a question mark is a star", "patterns", "                any_takes |= bit\n                bit <<= 1",
           "                stays |= bit"),
    Mutant("what precedes a star does not matter", "patterns", "or not text.startswith(self.first)", ""),
    Mutant("what follows a star does not matter", "patterns", "or not text.endswith(self.last)", ""),
    Mutant("what is between stars does not matter", "patterns", "for piece in self.middle:", "for piece in ():"),
    Mutant("a variable without a value is the empty text", "patterns", "            else:\n                return None",
           '            else:\n                resolved.append("")'),
    Mutant("the default always counts", "patterns", "if values is None and part.default is not None:",
           "if part.default is not None:"),
    Mutant("names of variables are case sensitive", "patterns", "Variable(name.lower(), default)",
           "Variable(name, default)"),
)  # fmt: skip


@lru_cache(maxsize=32)
def _code(module: str) -> CodeType:
    return compile(_source(module), module, "exec")


@lru_cache(maxsize=32)
def _source(module: str) -> str:
    return (_FOLDER / f"{module}.py").read_text()


def _load(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Load the package anew with the mutant in it. What others have imported stays theirs."""
    source = _source(mutant.module)
    assert source.count(mutant.old) == 1, f"{mutant.module}.py has {source.count(mutant.old)} of: {mutant.old}"
    changed = compile(source.replace(mutant.old, mutant.new), mutant.module, "exec")
    loaded: dict[str, ModuleType] = {}
    for name in _MODULES:
        full_name = f"{authorization.__name__}.{name}"
        loaded[name] = ModuleType(full_name)
        monkeypatch.setitem(sys.modules, full_name, loaded[name])
        exec(changed if name == mutant.module else _code(name), loaded[name].__dict__)
    return Engine(loaded["decide"], loaded["grants"], loaded["identity"], loaded["documents"])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.step)
def test_the_table_notices(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _load(mutant, monkeypatch)

    assert not all(agrees(case, engine) for case in TABLE.values())


def test_what_is_loaded_unchanged_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _load(Mutant("nothing", "decide", "lacks = None\n    naming", "lacks = None\n    naming"), monkeypatch)

    assert [name for name, case in TABLE.items() if not agrees(case, engine)] == []
