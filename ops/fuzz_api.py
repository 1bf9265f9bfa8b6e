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
    # With a token it may be left out.
    ("#/userId", "is required"),
    ("userId", "is required"),
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


# Orders that were placed. They give the ids that a generator cannot guess.
placed = []

# What the demo catalogue has, or what is soon there: id from an even number. Odd ones stay what they are, so that
# both known and unknown things are asked for. Administrators change products 1 and 2, which are the document's
# examples, and 6 to 8; so 3 to 5 can be bought.
BUYERS = {
    "userId": lambda it: 1 + it // 2 % 100,
    "productId": lambda it: 3 + it // 2 % 3,
    "optionId": lambda it: 1 + it // 2 % 3,
    "couponId": lambda it: 1 + it // 2 % 4,
    "orderId": lambda it: placed[it // 2 % len(placed)] if placed else it,
    "quantity": lambda it: 1 + it // 2 % 3,
}
ADMINISTRATORS = {**BUYERS, "productId": lambda it: 6 + it // 2 % 3}


def is_id(value):
    return type(value) is int and 0 < value < 2**53


def is_even_id(value):
    return is_id(value) and value % 2 == 0


def known(value, shop, name=None):
    if isinstance(value, dict):
        return {name: known(it, shop, name) for name, it in value.items()}
    if isinstance(value, list):
        return [known(it, shop) for it in value]
    # JSON Schema takes 5.0 for an integer, and cannot say otherwise; the contract refuses it. Plain digits, then.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return shop[name](value) if name in shop and is_even_id(value) else value


def shop_of(context):
    return ADMINISTRATORS if context.operation.path.startswith("/admin/") else BUYERS


def affordable(order):
    """Few coupons fit an order, few products have options, and all items must be in stock: most orders go with less."""
    order = dict(order)
    items = order.get("items")
    if is_even_id(order.get("couponId")):
        del order["couponId"]
    if isinstance(items, list) and 2 < len(items) <= 50:
        # What is wrong with a wrong order must stay in it.
        plain = [it for it in items if is_plain(it)]
        order["items"] = [it for it in items if not is_plain(it)] + plain[:2]
    if isinstance(order.get("items"), list):
        order["items"] = [without_option(it) if is_plain(it) else it for it in order["items"]]
    return order


def is_plain(item):
    """An item as the document has it, but for its option."""
    return (
        isinstance(item, dict)
        and set(item) <= {"productId", "optionId", "quantity"}
        and is_id(item.get("productId"))
        and is_id(item.get("quantity"))
        and item["quantity"] <= 1000
        and (item.get("optionId") is None or is_id(item["optionId"]))
    )


def without_option(item):
    """Even, so that it becomes one of the shop."""
    return {name: max(2, item[name] - item[name] % 2) for name in ("productId", "quantity")}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return known(path_parameters, shop_of(context))


@schemathesis.hook
def map_query(context, query):
    return known(query, shop_of(context))


@schemathesis.hook
def map_body(context, body):
    if context.operation.path == "/orders" and isinstance(body, dict):
        body = affordable(body)
    return known(body, shop_of(context))


@schemathesis.hook
def after_call(context, case, response):
    if case.operation.path == "/orders" and response.status_code == 201:
        placed.append(response.json()["orderId"])


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
