//! The steps that bring a slot to another server, in the order that the cluster specification names. Each may be done
//! again: a move that was cut off goes on where it stopped.

use std::time::Duration;

use redis::{RedisError, Value};

use super::Cluster;
use crate::cell::CellId;
use crate::config::Address;
use crate::scripts::connect::OwnConnection;
use crate::scripts::keys;

/// How long Redis may take for one `MIGRATE`. The event log is one key, and goes as a whole.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(120);

/// How much longer its answer is waited for.
const ANSWER_MARGIN: Duration = Duration::from_secs(30);

/// Keys that go at once. Both servers stand still meanwhile.
const KEYS_AT_ONCE: usize = 100;

/// What a cell's mark says while it moves; elsewhere it names an epoch.
const MOVING: &str = "moving";

/// One server as it sees itself.
pub struct Seat {
    pub address: Address,
    pub id: String,
    pub is_primary: bool,
    /// It has the slot.
    pub is_owner: bool,
    /// The id of the server to which it sends the slot.
    pub migrates_to: Option<String>,
    connection: OwnConnection,
}

impl Seat {
    /// Asks a server what it is, and what it knows of a slot.
    pub async fn of(cluster: &Cluster, address: &Address, slot: u16) -> Result<Self, RedisError> {
        let server = cluster.server_at(address)?;
        let mut connection = server.patient_connection(MIGRATE_TIMEOUT + ANSWER_MARGIN).await?;
        let nodes: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await?;
        let it = Description::of_itself(&nodes, slot).ok_or((
            redis::ErrorKind::UnexpectedReturnType,
            "CLUSTER NODES was answered in a form that is not known",
        ))?;
        let Description { id, is_primary, is_owner, migrates_to } = it;
        Ok(Self { address: address.clone(), id, is_primary, is_owner, migrates_to, connection })
    }

    /// Announces the slot's move, at its new server first: a client that is sent there must be let in.
    pub async fn announce(from: &mut Self, to: &mut Self, slot: u16) -> Result<(), RedisError> {
        to.set_slot(slot, "IMPORTING", &from.id).await?;
        from.set_slot(slot, "MIGRATING", &to.id).await
    }

    /// Marks a closed cell that is to go, so that whoever recovers it before all has arrived rebuilds it. One that is marked
    /// anyhow is rebuilt anyhow.
    pub async fn mark(&mut self, cell: CellId) -> Result<(), RedisError> {
        let mut command = redis::cmd("SET");
        command
            .arg(keys::suspect(cell))
            .arg(MOVING)
            .arg("NX")
            .query_async::<Value>(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Takes that mark away, at the server that has all keys now.
    pub async fn unmark(&mut self, cell: CellId) -> Result<(), RedisError> {
        let mark: Option<String> =
            redis::cmd("GET").arg(keys::suspect(cell)).query_async(&mut self.connection).await?;
        if mark.as_deref() == Some(MOVING) {
            redis::cmd("DEL").arg(keys::suspect(cell)).exec_async(&mut self.connection).await?;
        }
        Ok(())
    }

    pub async fn keys_left(&mut self, slot: u16) -> Result<u64, RedisError> {
        redis::cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(slot).query_async(&mut self.connection).await
    }

    /// Sends some keys, the marks of these cells last; returns how many, 0 when none is left.
    pub async fn send_keys(
        &mut self,
        cluster: &Cluster,
        slot: u16,
        cells: &[CellId],
        to: &Address,
    ) -> Result<u64, RedisError> {
        let mut question = redis::cmd("CLUSTER");
        question.arg("GETKEYSINSLOT").arg(slot).arg(KEYS_AT_ONCE);
        let mut keys: Vec<Vec<u8>> = question.query_async(&mut self.connection).await?;
        let marks: Vec<String> = cells.iter().map(|it| keys::suspect(*it)).collect();
        let is_mark = |key: &Vec<u8>| marks.iter().any(|it| it.as_bytes() == key);
        if !keys.iter().all(is_mark) {
            keys.retain(|it| !is_mark(it));
        }
        if keys.is_empty() {
            return Ok(0);
        }
        let mut migrate = redis::cmd("MIGRATE");
        // What an attempt that was cut off has left there is replaced: this server's is the one that counts.
        migrate
            .arg(&to.host)
            .arg(to.port)
            .arg("")
            .arg(0)
            .arg(MIGRATE_TIMEOUT.as_millis() as u64)
            .arg("REPLACE");
        match cluster.url().user_and_password() {
            Some((user, password)) if user.is_empty() => migrate.arg("AUTH").arg(password),
            Some((user, password)) => migrate.arg("AUTH2").arg(user).arg(password),
            None => &mut migrate,
        };
        migrate.arg("KEYS").arg(&keys);
        migrate.query_async::<Value>(&mut self.connection).await?;
        Ok(keys.len() as u64)
    }

    /// Says to this server whose the slot is.
    pub async fn give(&mut self, slot: u16, to: &str) -> Result<(), RedisError> {
        self.set_slot(slot, "NODE", to).await
    }

    async fn set_slot(&mut self, slot: u16, what: &str, id: &str) -> Result<(), RedisError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot).arg(what).arg(id).exec_async(&mut self.connection).await
    }
}

/// What a server's own line in `CLUSTER NODES` says.
#[derive(Debug, PartialEq, Eq)]
struct Description {
    id: String,
    is_primary: bool,
    is_owner: bool,
    migrates_to: Option<String>,
}

impl Description {
    /// Id, address, flags, primary, ping, pong, epoch, link, then slots: `5`, `5-7`, and `[5->-id]` or `[5-<-id]` for one
    /// that moves.
    fn of_itself(nodes: &str, slot: u16) -> Option<Self> {
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let own = nodes.lines().map(fields).find(|it| it.get(2).is_some_and(|it| it.contains("myself")))?;
        let slots = own.get(8..).unwrap_or_default();
        let is_owner = slots.iter().any(|it| {
            let (first, last) = it.split_once('-').unwrap_or((it, it));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        });
        let sending = format!("[{slot}->-");
        let migrates_to =
            slots.iter().find_map(|it| it.strip_prefix(&sending)?.strip_suffix(']').map(str::to_owned));
        Some(Self { id: own[0].clone(), is_primary: own[2].contains("master"), is_owner, migrates_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_what_it_is() {
        let nodes = "aa 127.0.0.1:1@10001,host,shard-id=1 master - 0 1 2 connected 0-5460 [5461-<-bb]\n\
                     bb 127.0.0.1:2@10002 myself,master - 0 0 1 connected 7 5461-10922 [5461->-aa] [9-<-aa]\n\
                     cc 127.0.0.1:3@10003 slave aa 0 1 2 connected\n";
        let of = |slot| Description::of_itself(nodes, slot).unwrap();
        let wanted = |is_owner, to: Option<&str>| Description {
            id: "bb".to_owned(),
            is_primary: true,
            is_owner,
            migrates_to: to.map(str::to_owned),
        };
        assert_eq!(of(5_461), wanted(true, Some("aa")));
        assert_eq!(of(7), wanted(true, None));
        assert_eq!((of(9), of(8)), (wanted(false, None), wanted(false, None)));
        let replica = nodes.replace("myself,", "").replace("slave", "myself,slave");
        let it = Description::of_itself(&replica, 0).unwrap();
        assert_eq!((it.id.as_str(), it.is_primary, it.is_owner), ("cc", false, false));
        assert_eq!(Description::of_itself("", 0), None);
    }
}
