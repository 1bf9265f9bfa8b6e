// All texts of the shop in its two languages, and how money, times and discounts are written in them.

export const LANGUAGES = ['ko', 'en'];

/** Korean and English of each text. `{name}` stands for a value. */
export const WORDS = {
  title: ['선착순 상점', 'First come shop'],
  demo: ['firstcome 데모', 'A demo of firstcome'],
  skip: ['상품으로 바로 가기', 'Skip to the products'],
  sections: ['이 페이지의 목록', 'On this page'],
  language: ['언어', 'Language'],
  guest: ['손님 {user}', 'Guest {user}'],
  somebodyElse: ['다른 손님 되기', 'Be somebody else'],
  nowUser: ['이제 손님 {user}입니다', 'You are guest {user} now'],
  balance: ['잔액', 'Balance'],
  noConnection: ['서버에 연결할 수 없습니다.', 'The shop cannot be reached.'],
  unavailable: ['상점이 지금 응답하지 못합니다.', 'The shop cannot answer just now.'],
  waiting: ['자동으로 다시 연결합니다.', 'It is tried again by itself.'],
  askingAgain: ['아직 답이 없어 같은 요청을 다시 보냅니다', 'No answer yet: the same request is sent again'],
  sameKey: ['다시 시도해도 한 번만 처리됩니다.', 'Trying again cannot do it twice.'],
  again: ['다시 시도', 'Try again'],
  close: ['닫기', 'Close'],
  failed: ['요청을 처리하지 못했습니다', 'The request was not carried out'],
  loading: ['불러오는 중…', 'Loading…'],
  notLoaded: ['지금은 새로 불러올 수 없습니다. 곧 다시 시도합니다.', 'This cannot be loaded just now. It will be tried again.'],
  more: ['더 보기', 'Show more'],
  products: ['상품', 'Products'],
  noProducts: ['판매 중인 상품이 없습니다.', 'Nothing is on sale.'],
  perUser: ['1인당 {count}개까지', 'At most {count} each'],
  from: ['{amount}부터', 'from {amount}'],
  left: ['{count}개 남음', '{count} left'],
  onlyLeft: ['{count}개만 남았습니다', 'Only {count} left'],
  notAvailable: ['지금은 이 수량을 살 수 없습니다', 'Not available in this quantity'],
  soldout: ['품절', 'Sold out'],
  ended: ['판매 종료', 'Sale ended'],
  soon: ['판매 예정', 'Opens soon'],
  opensIn: ['판매 시작까지', 'Opens in'],
  endsIn: ['판매 종료까지', 'Ends in'],
  option: ['옵션', 'Option'],
  quantity: ['수량', 'Quantity'],
  coupon: ['쿠폰', 'Coupon'],
  noCoupon: ['쿠폰 없이', 'No coupon'],
  minimum: ['{amount} 이상', 'from {amount}'],
  sum: ['합계 {total}', 'Total {total}'],
  sumLess: ['합계 {total} − {discount} = {payable}', 'Total {total} − {discount} = {payable}'],
  buy: ['바로 구매', 'Buy now'],
  orderLater: ['주문 후 결제', 'Pay later'],
  quantityBounds: ['수량은 1개부터 {most}개까지 주문할 수 있습니다', 'Enter a quantity from 1 to {most}'],
  chooseOption: ['옵션을 골라 주세요', 'Choose an option'],
  wholeQuantity: ['수량을 1 이상의 정수로 입력해 주세요', 'Enter a whole quantity, 1 or more'],
  bought: ['{paid}을 결제했습니다 (주문 번호 {order}). 잔액 {balance}', 'Order {order}: {paid} paid. Balance {balance}'],
  ordered: ['주문을 받았습니다 (번호 {order}). 시간 안에 결제해 주세요.', 'Order {order} is placed. Please pay in time.'],
  replayed: ['이미 처리된 요청입니다. 두 번 처리하지 않았습니다.', 'This had been done before, and was not done twice.'],
  toOrders: ['주문 보기', 'See orders'],
  orders: ['내 주문', 'My orders'],
  noOrders: ['아직 주문이 없습니다.', 'No orders yet.'],
  order: ['주문 {order}', 'Order {order}'],
  productNamed: ['상품 {id}', 'Product {id}'],
  payIn: ['결제 마감까지', 'Pay within'],
  overdue: ['결제 시간이 지났습니다', 'The time to pay is over'],
  pay: ['{amount} 결제', 'Pay {amount}'],
  cancel: ['주문 취소', 'Cancel'],
  refund: ['환불', 'Refund'],
  cancelled: ['주문을 취소했습니다 (번호 {order})', 'Order {order} is cancelled'],
  refunded: ['주문을 환불했습니다 (번호 {order}). 잔액 {balance}', 'Order {order} is refunded. Balance {balance}'],
  discounted: ['할인 {amount}', '{amount} off'],
  'status.pending': ['결제 대기', 'To be paid'],
  'status.paid': ['결제 완료', 'Paid'],
  'status.cancelled': ['취소됨', 'Cancelled'],
  'status.expired': ['시간 초과', 'Expired'],
  'status.refunded': ['환불됨', 'Refunded'],
  coupons: ['쿠폰 받기', 'Coupons on offer'],
  noCoupons: ['받을 수 있는 쿠폰이 없습니다.', 'No coupons are on offer.'],
  claim: ['받기', 'Claim'],
  'claim.mine': ['받음', 'Yours'],
  'claim.soon': ['발급 예정', 'Opens soon'],
  'claim.ended': ['발급 종료', 'Ended'],
  'claim.soldout': ['소진', 'All gone'],
  claimIn: ['발급 시작까지', 'Opens in'],
  claimEndsIn: ['발급 종료까지', 'Ends in'],
  claimed: ['쿠폰을 받았습니다', 'The coupon is yours'],
  fixed: ['{amount} 할인', '{amount} off'],
  percent: ['{percent}% 할인', '{percent} % off'],
  percentMost: ['{percent}% 할인 (최대 {amount})', '{percent} % off (at most {amount})'],
  myCoupons: ['내 쿠폰', 'My coupons'],
  noMyCoupons: ['가진 쿠폰이 없습니다.', 'You have no coupons.'],
  until: ['{time}까지', 'until {time}'],
  release: ['주문에서 빼기', 'Take off the order'],
  released: ['쿠폰을 주문에서 뺐습니다', 'The coupon is off the order'],
  'coupon.issued': ['사용 가능', 'Can be used'],
  'coupon.held': ['주문에 적용됨', 'On an order'],
  'coupon.used': ['사용함', 'Used'],
  'coupon.expired': ['기간 만료', 'Expired'],
  'reason.not_issued': ['받지 않은 쿠폰입니다', 'You do not have this coupon'],
  'reason.held': ['다른 주문에 적용된 쿠폰입니다', 'Another order holds it'],
  'reason.used': ['이미 사용한 쿠폰입니다', 'It has been used'],
  'reason.expired': ['사용 기간이 지났습니다', 'Its time is over'],
  'reason.below_minimum': ['최소 주문 금액에 못 미칩니다', 'The total is below its minimum'],
  wallet: ['내 지갑', 'My wallet'],
  amount: ['충전 금액', 'Amount'],
  charge: ['충전', 'Charge'],
  wholeAmount: ['금액을 1 이상의 정수로 입력해 주세요', 'Enter a whole amount, 1 or more'],
  charged: ['{amount}을 충전했습니다. 잔액 {balance}', '{amount} charged. Balance {balance}'],
  history: ['잔액 내역', 'Balance history'],
  noHistory: ['아직 내역이 없습니다.', 'Nothing has happened yet.'],
  'kind.charge': ['충전', 'Charge'],
  'kind.payment': ['결제', 'Payment'],
  'kind.refund': ['환불', 'Refund'],
  ranking: ['인기 상품', 'Best sellers'],
  rankingOf: ['최근 3일', 'The last three days'],
  noRanking: ['아직 판매된 상품이 없습니다.', 'Nothing has been sold yet.'],
  sold: ['{count}개 판매', '{count} sold'],
};

/** The language to show: the one that was chosen, else the first of the browser's that there is, else English. */
export function chooseLanguage(saved, wanted = []) {
  const known = (tag) => LANGUAGES.find((it) => it === String(tag).toLowerCase().split('-')[0]);
  return known(saved) ?? wanted.map(known).find(Boolean) ?? 'en';
}

/** How everything is written in one language. What comes out is text, never markup. */
export function wordsIn(language) {
  const say = (key, values = {}) => {
    const text = WORDS[key][LANGUAGES.indexOf(language)];
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  };

  /** Minor units; of the won, which has none smaller, these are won: `39,000원`, `₩39,000`. */
  const money = (amount) => {
    const [sign, digits] = [amount < 0 ? '−' : '', count(Math.abs(amount))];
    return language === 'ko' ? `${sign}${digits}원` : `${sign}₩${digits}`;
  };

  const discount = ({ kind, value, maxAmount }) => {
    if (kind === 'fixed') return say('fixed', { amount: money(value) });
    if (maxAmount === undefined) return say('percent', { percent: value });
    return say('percentMost', { percent: value, amount: money(maxAmount) });
  };

  /** What is left, to the second. Rounded up, so that it is zero only when the time has come: `04:05`, `2일 3:04:05`. */
  const countdown = (leftMs) => {
    const seconds = Math.max(0, Math.ceil(leftMs / 1000));
    const two = (number) => String(number).padStart(2, '0');
    const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24];
    const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    if (days > 0) return `${days}${language === 'ko' ? '일' : 'd'} ${hours}:${clock}`;
    return hours > 0 ? `${hours}:${clock}` : clock;
  };

  /** By the reader's own clock and zone. */
  const format = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
  const moment = (at) => format.format(new Date(at));

  return { language, say, count, money, discount, countdown, moment };
}

/** A whole number in groups of three digits. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ',');
}
