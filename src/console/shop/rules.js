// What follows from a product, a coupon or an order and the server's time. Nothing here touches the page or the network.

/** Most units of one line, by the contract. */
export const QUANTITY_MAX = 1000;

/** Whether a product is on sale: `soon`, `ended`, `soldout` or `open`. A sale is open at its start and over at its end. */
export function saleState({ saleStartsAt, saleEndsAt, stock }, nowMs) {
  if (saleStartsAt && nowMs < Date.parse(saleStartsAt)) return 'soon';
  if (saleEndsAt && nowMs >= Date.parse(saleEndsAt)) return 'ended';
  return stock > 0 ? 'open' : 'soldout';
}

/** The time at which a sale changes by itself: its start, or its end; undefined where there is none to come. */
export function saleChangesAt(product, nowMs) {
  const state = saleState(product, nowMs);
  if (state === 'soon') return product.saleStartsAt;
  return state === 'ended' ? undefined : product.saleEndsAt;
}

/** What a claim would meet, in the server's order: `soon`, `ended`, `mine`, `soldout` or `open`. */
export function couponState({ startsAt, endsAt, remaining }, isMine, nowMs) {
  if (nowMs < Date.parse(startsAt)) return 'soon';
  if (nowMs >= Date.parse(endsAt)) return 'ended';
  if (isMine) return 'mine';
  return remaining > 0 ? 'open' : 'soldout';
}

/** The unit that is sold: the option where a product has some, else the product itself. */
export function skuOf(product, optionId) {
  return product.options.find((it) => String(it.id) === String(optionId)) ?? product;
}

/** Most units that one order may ask for. At least 1, so that a field always has a range. */
export function quantityMax(product, sku) {
  return Math.max(1, Math.min(sku.stock, product.limitPerUser ?? QUANTITY_MAX, QUANTITY_MAX));
}

/** What a discount takes off a total: whole percent, rounded down, never more than its cap or the total. */
export function discountAmount({ kind, value, maxAmount = Infinity }, total) {
  const amount = kind === 'fixed' ? value : Math.min(Math.floor((total * value) / 100), maxAmount);
  return Math.min(amount, total);
}

/** A positive whole number as a person types it, with commas or spaces; undefined for anything else. */
export function wholeNumber(text) {
  const digits = text.replace(/[,\s]/g, '');
  const number = /^\d+$/.test(digits) ? Number(digits) : 0;
  return number > 0 && Number.isSafeInteger(number) ? number : undefined;
}

const STEPS = { pending: 0, paid: 1, cancelled: 1, expired: 1, refunded: 2 };

/**
 * Orders as the server lists them, with what actions were told of them since: a list may be a little behind. `told` has
 * orders by id; those that the list has caught up with leave it.
 */
export function mergeOrders(listed, told) {
  const newest = listed[0]?.orderId ?? 0;
  const merged = listed.map((order) => {
    const known = told.get(order.orderId);
    if (known && STEPS[known.status] > STEPS[order.status]) return known;
    told.delete(order.orderId);
    return order;
  });
  const missing = [...told.values()].filter((it) => it.orderId > newest);
  return [...missing.sort((a, b) => b.orderId - a.orderId), ...merged];
}

/** How far the server's clock may be ahead of ours, in milliseconds; before any answer: anything. */
export const UNKNOWN_CLOCK = { least: -Infinity, most: Infinity };

/**
 * Narrows that by one answer. Its `Date` has whole seconds: the server's time was in that second while the request was on
 * its way. Where this cannot be true together with what is known, a clock was set, and only the new answer counts.
 */
export function narrowedClock(clock, dateMs, sentMs, gotMs) {
  const seen = { least: dateMs - gotMs, most: dateMs + 1000 - sentMs };
  const both = { least: Math.max(clock.least, seen.least), most: Math.min(clock.most, seen.most) };
  return both.least <= both.most ? both : seen;
}

/** The middle of what is possible. */
export function clockAheadMs({ least, most }) {
  return Number.isFinite(least) ? (least + most) / 2 : 0;
}
