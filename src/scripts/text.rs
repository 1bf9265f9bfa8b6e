//! The scripts' texts: the file as written, and what the fence puts in front of it.

use std::sync::LazyLock;

use crate::cell::{CellId, Cells, Fence};

macro_rules! scripts {
    ($($variant:ident = $stem:literal),* $(,)?) => {
        /// The scripts that run behind a cell's gate; one file of `lua/` each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Script { $($variant),* }

        impl Script {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stem of the Lua file, of the binding and of the metric label.
            pub fn stem(self) -> &'static str {
                match self { $(Self::$variant => $stem),* }
            }

            /// The file as written, header included.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../lua/", $stem, ".lua"))),* }
            }
        }
    };
}

scripts! {
    Fence = "fence",
    UserCreate = "user_create",
    BalanceGet = "balance_get",
    BalanceCharge = "balance_charge",
    ProductSet = "product_set",
    ProductList = "product_list",
    ProductRestock = "product_restock",
    ProductDelete = "product_delete",
    CouponSet = "coupon_set",
    CouponList = "coupon_list",
    CouponIssue = "coupon_issue",
    CouponForget = "coupon_forget",
    CouponRelease = "coupon_release",
    OrderPlace = "order_place",
    OrderPay = "order_pay",
    OrderEnd = "order_end",
    OrderGet = "order_get",
    OrdersDue = "orders_due",
    IdempotencyRead = "idempotency_read",
    KeyNote = "key_note",
    RankingTop = "ranking_top",
    RankingRoll = "ranking_roll",
    RankingPage = "ranking_page",
    RankingScores = "ranking_scores",
    QuotaAsk = "quota_ask",
    QuotaGive = "quota_give",
    QuotaTake = "quota_take",
    QuotaSettle = "quota_settle",
    QuotaRead = "quota_read",
    QuotaGifts = "quota_gifts",
    CopiesDue = "copies_due",
    CopiesMade = "copies_made",
    ClockRead = "clock_read",
    EventsRead = "events_read",
    EventsTrim = "events_trim",
    AuditRead = "audit_read",
    AuditScan = "audit_scan",
    AuditMembers = "audit_members",
    AuditSales = "audit_sales",
}

impl Script {
    /// Whether the script appends an event, and so is refused while the backlog is full.
    pub(super) fn appends(self) -> bool {
        static APPENDS: LazyLock<Vec<bool>> =
            LazyLock::new(|| Script::ALL.iter().map(|it| it.text().contains(APPEND)).collect());
        APPENDS[self as usize]
    }
}

/// The texts and digests of one cell in one epoch.
pub(super) struct ScriptSet {
    pub fence: Fence,
    pub digests: Vec<String>,
    pub texts: Vec<String>,
}

impl ScriptSet {
    pub fn new(cell: CellId, cells: Cells, fence: Fence, stream_bound: u64) -> Self {
        let texts: Vec<String> =
            Script::ALL.iter().map(|it| loaded_text(it.text(), cell, cells, &fence, stream_bound)).collect();
        let digests = texts.iter().map(|it| redis::Script::new(it).get_hash().to_owned()).collect();
        Self { fence, digests, texts }
    }
}

/// A script as it is loaded: behind `#!lua` the fence, and around the body of one that appends its guard.
pub fn loaded_text(text: &str, cell: CellId, cells: Cells, fence: &Fence, stream_bound: u64) -> String {
    let (Fence { epoch, replid }, cells) = (fence, cells.count());
    // The first line may carry flags: what only reads or frees must run in a Redis that is out of memory.
    let (shebang, body) = text.split_once('\n').expect("every script starts with #!lua");
    let mut text = format!(
        "{shebang}\nlocal CELL, EPOCH, CELLS = '{cell}', '{epoch}', {cells}\n\
         if redis.call('GET', KEYS[1]) ~= EPOCH then return {{'CLOSED'}} end\n"
    );
    if let Some(replid) = replid {
        text += &format!(
            "if not string.find(redis.call('INFO', 'replication'), 'master_replid:{replid}', 1, true) \
             then return {{'CLOSED'}} end\n"
        );
    }
    if !body.contains(APPEND) {
        return text + body;
    }
    text += &format!("if redis.call('XLEN', KEYS[2]) >= {stream_bound} then return {{'BACKLOG_FULL'}} end\n");
    let body = body.replace(APPEND, "append('XADD'");
    text + APPENDING + body.trim_end() + GUARD
}

/// The call that is a script's first write; it occurs once.
const APPEND: &str = "redis.call('XADD'";

/// Opens a function around the body of a script that appends.
const APPENDING: &str = "local appended
local function append(...)
  appended = redis.call(...)
  return appended
end
local function run()
";

/// Closes it. Lua never rolls back: where the body fails behind its event, the script shuts the gate itself, so that no
/// other script runs on half of its changes and appends what follows from them. Errors keep their code; in Redis 7.0 they
/// are texts, later tables, and those of Lua itself have none.
///
/// In a slot that is on the move the mark cannot be set, since its key is not there; the gate is, and says so itself.
const GUARD: &str = "
end
local done, reply = pcall(run)
if done then return reply end
local reason = type(reply) == 'table' and reply.err or tostring(reply)
if not string.find(reason, '^%u+ ') then reason = 'ERR ' .. reason end
if not appended then return redis.error_reply(reason) end
local marked = redis.pcall('SET', '{c' .. CELL .. '}:suspect', EPOCH)
if type(marked) == 'table' and marked.err then
  redis.pcall('SET', KEYS[1], EPOCH .. '?')
else
  redis.pcall('DEL', KEYS[1])
end
return redis.error_reply('HALFWAY ' .. reason)
";

/// The code of the error that a script answers with which failed behind its event.
pub(super) const HALFWAY: &str = "HALFWAY";

#[cfg(test)]
mod tests {
    use super::*;

    fn eight() -> Cells {
        Cells::new(8).unwrap()
    }

    #[test]
    fn the_prologue_carries_cell_epoch_and_replid() {
        let fence = Fence { epoch: 8, replid: Some("abc".to_owned()) };
        let text = loaded_text(Script::OrderPlace.text(), CellId(3), eight(), &fence, 200);
        let lines: Vec<&str> = text.lines().take(5).collect();
        assert_eq!(lines[..2], ["#!lua", "local CELL, EPOCH, CELLS = '3', '8', 8"]);
        assert!(lines[3].contains("master_replid:abc") && lines[4].contains(">= 200"));
        let read = loaded_text(Script::BalanceGet.text(), CellId(3), eight(), &fence, 200);
        assert!(!read.contains("XLEN") && !read.contains("pcall"));
    }

    #[test]
    fn a_script_appends_through_the_guard() {
        let fence = Fence { epoch: 8, replid: None };
        for script in Script::ALL.iter().filter(|it| it.appends()) {
            let text = loaded_text(script.text(), CellId(0), eight(), &fence, 200);
            assert!(!text.contains(APPEND) && text.ends_with(GUARD), "{}", script.stem());
            assert_eq!(text.matches("append('XADD'").count(), 1, "{}", script.stem());
        }
    }
}
