"""What a shop adds to schemathesis' checks: which 400s a well-formed request may meet, and none else.

Called with the address of an engine, it checks that engine's document against OpenAPI's own schema.
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


@schemathesis.hook
def map_body(context, body):
    """JSON Schema takes 5.0 for an integer, and cannot say otherwise; the contract refuses it. Plain digits, then."""
    return plain(body)


def plain(value):
    if isinstance(value, dict):
        return {name: plain(it) for name, it in value.items()}
    if isinstance(value, list):
        return [plain(it) for it in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
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


def validate(url):
    from schemathesis.specs.openapi.definitions import OPENAPI_31
    import jsonschema_rs

    with urllib.request.urlopen(url + "/openapi.json") as answer:
        document = json.load(answer)
    faults = [f"{list(it.instance_path)}: {it.message}" for it in jsonschema_rs.validator_for(OPENAPI_31).iter_errors(document)]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"fuzz-api: {len(document['paths'])} paths, {len(json.dumps(document))} bytes, OpenAPI {document['openapi']}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    validate(sys.argv[1])
