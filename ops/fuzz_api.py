"""What a shop adds to schemathesis' checks: which 400s a well-formed request may meet, and none else.

As a program it takes the address of an engine: `validate URL` checks that engine's document against OpenAPI's own
schema, `reached URL` shows which statuses each call has answered with.
"""

import json
import re
import sys
import urllib.request

import schemathesis

# Refusals of a well-formed request that no schema can foresee: what they are about, and how the detail begins.
# Each is a rule over several fields, or over what the shop holds.
FORESEEN_BY_NO_SCHEMA = [
    ("#/endsAt", "must be later than startsAt"),
    ("#/saleEndsAt", "must be later than saleStartsAt"),
    (r"#/options/\d+/(id|name)", "is that of another option"),
    (r"#(/options/\d+)?/stock", "differs from the initial stock"),
    ("#/options", "leaves out too many"),
    ("#/quantity", "must be at least .* issued"),
    ("#/delta", "must leave 0 to"),
    ("#/items", "must cost at most"),
    (r"#/items/\d+/quantity", "must not take the units of one product"),
    (r"#(/items/\d+)?/optionId", "is required: the product has options"),
    ("optionId", "is required: the product has options"),
    # The document calls it opaque: only a page before this one has it.
    ("cursor", "must be a cursor that this list gave"),
]

# 400s that say no more than that the shop refuses.
BUSINESS_REFUSALS = {
    "balance_limit_exceeded",
    "insufficient_balance",
    "out_of_stock",
    "invalid_coupon",
    "purchase_limit_exceeded",
}


def is_unforeseen(error):
    part = error.get("pointer") or error.get("parameter") or ""
    return not any(re.fullmatch(about, part) and re.match(begins, error["detail"]) for about, begins in FORESEEN_BY_NO_SCHEMA)


# What the demo catalogue has, or what is soon there: id from an even number. Odd ones stay what they are, so that
# both known and unknown things are asked for.
IN_SHOP = {
    "userId": lambda it: 1 + it % 100,
    "productId": lambda it: 1 + it % 8,
    "optionId": lambda it: 1 + it % 3,
    "couponId": lambda it: 1 + it % 4,
    "orderId": lambda it: 1024 * (1 + it % 500),
}


@schemathesis.hook
def map_body(context, body):
    """JSON Schema takes 5.0 for an integer, and cannot say otherwise; the contract refuses it. Plain digits, then."""
    return known(body)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return known(path_parameters)


@schemathesis.hook
def map_query(context, query):
    return known(query)


def known(value, name=None):
    if isinstance(value, dict):
        return {name: known(it, name) for name, it in value.items()}
    if isinstance(value, list):
        return [known(it) for it in value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 < value < 2**53 and value % 2 == 0 and name in IN_SHOP:
        return IN_SHOP[name](value)
    return value


@schemathesis.check
def positive_data_is_well_formed(ctx, response, case):
    """A request made after the document is `invalid_request` for reasons that the document cannot say, only.

    `positive_data_acceptance` lets 400 pass because of this check.
    """
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code != 400:
        return
    problem = response.json()
    if problem["code"] in BUSINESS_REFUSALS:
        return
    errors = problem.get("errors", [])
    unforeseen = [it for it in errors if is_unforeseen(it)]
    assert errors and not unforeseen, f"a well-formed request is refused: {problem}"


@schemathesis.check
def problems_are_told_alike(ctx, response, case):
    """Every error is a problem document in the caller's language, and its id is that of the answer."""
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    if response.status_code == 503 and case.operation.path == "/readyz":
        return
    problem = response.json()
    assert problem["status"] == response.status_code, problem
    assert problem["type"].endswith("/problems/" + problem["code"]), problem
    assert response.headers["x-request-id"] == [problem["requestId"]], (response.headers, problem)
    assert problem["code"] != "internal_error", problem


def read(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def validate(url):
    from schemathesis.specs.openapi.definitions import OPENAPI_31
    import jsonschema_rs

    document = json.loads(read(url + "/openapi.json"))
    validator = jsonschema_rs.validator_for(OPENAPI_31)
    faults = [f"{list(it.instance_path)}: {it.message}" for it in validator.iter_errors(document)]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"fuzz-api: OpenAPI {document['openapi']}, {len(document['paths'])} paths")
    sys.exit(bool(faults))


def reached(url):
    calls = {}
    for line in read(url + "/metrics").splitlines():
        if line.startswith("firstcome_http_request_duration_seconds_count{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            statuses = calls.setdefault(f"{labels['method']} {labels['route']}", {})
            statuses[labels["status"]] = line.rsplit(" ", 1)[1]
    print("fuzz-api: answers by status")
    for call, statuses in sorted(calls.items()):
        if "405" not in statuses or len(statuses) > 1:
            shown = ", ".join(f"{status}: {times}" for status, times in sorted(statuses.items()) if status != "405")
            print(f"  {call:<42} {shown}")


if __name__ == "__main__":
    {"validate": validate, "reached": reached}[sys.argv[1]](sys.argv[2])
