//! WooCommerce to eSputnik, the whole way with the real program: every request goes through a proxy that refuses what the
//! platform's own specification does not allow.

mod disturbed;
mod ways;

use crate::support::crm::Crm;
use crate::support::invariants::{check, told};
use crate::support::invariants_esputnik::writes;
use crate::support::openapi::Specification;
use crate::support::openapi::proxy::Proxy;
use crate::support::world::{Kind, World};
use serde_json::{Value, json};
use wharf::sandbox::esputnik::Options;

/// A world that feeds eSputnik through the proxy.
struct Way {
    world: World,
    proxy: Proxy,
}

impl Way {
    /// `settings` are the account's own, `pipeline` members of the pipeline file over the usual ones.
    async fn open(settings: impl FnOnce(&mut Options), pipeline: Value) -> Self {
        let Crm::ESputnik(mut options) = Crm::esputnik() else { unreachable!() };
        settings(&mut options);
        let kind = Kind { pipeline: pipeline.clone(), crm: Crm::ESputnik(options), ..Kind::default() };
        let world = World::new(kind).await;
        let proxy = Proxy::start(Specification::esputnik(), world.sandbox.url("esputnik").unwrap()).await;
        world.write_pipeline(&world.sandbox.woocommerce_url(), &format!("{}/api", proxy.origin), &pipeline);
        Self { world, proxy }
    }

    /// Everything that must hold when the program has come to rest, and nothing refused on the way.
    async fn holds(&self, when: &str) {
        let refusals = self.proxy.take_refusals();
        assert!(refusals.is_empty(), "{when}: {refusals:#?}");
        let broken = check(&self.world).await;
        assert!(broken.is_empty(), "{when}: {}\n{}", told(&broken), self.world.steps.join("\n"));
    }

    /// A run with nothing to do changes nothing there.
    async fn is_at_rest(&self, when: &str) {
        let before = writes(&self.world);
        let ran = self.world.run("").await;
        assert!(ran.is_done(), "{when}: {ran:?}");
        assert_eq!(writes(&self.world), before, "{when}: there was something left to send");
        let audit = self.world.audit().await.unwrap();
        assert_eq!((&audit["missed"], &audit["differing"]), (&json!(0), &audit["refused_before"]), "{when}: {audit}");
        let (client, connection) = tokio_postgres::connect(&self.world.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let noted = client.execute("delete from delivery.fingerprints", &[]).await.unwrap();
        assert!(noted > 0, "{when}: nothing vouched for anybody");
        assert_eq!(
            self.world.audit().await.unwrap(),
            audit,
            "{when}: fingerprints vouch for what rendering finds different"
        );
    }
}

fn target(settings: Value) -> Value {
    json!({"target": settings})
}
