//! What the command line may say: groups of flags that commands put together. Each flag is also a key of the environment
//! and of the TOML file.

/// Keys and what was given for them on the command line.
pub trait Group {
    /// Every key of the group.
    fn given(&self) -> Vec<(&'static str, Option<String>)>;
}

macro_rules! group {
    ($(#[$doc:meta])* $group:ident { $( $(#[$attr:meta])* $key:ident, )+ }) => {
        $(#[$doc])*
        #[derive(Clone, Default, clap::Args)]
        pub struct $group { $( #[arg(long)] $(#[$attr])* pub $key: Option<String>, )+ }

        impl Group for $group {
            fn given(&self) -> Vec<(&'static str, Option<String>)> {
                vec![$( (stringify!($key), self.$key.clone()), )+]
            }
        }

        impl std::fmt::Debug for $group {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(stringify!($group))
            }
        }
    };
}

group! {
    /// Where the database is.
    DatabaseFlags {
        /// The database: postgres://user:password@host:5432/name, or with ?host=/dir for a unix socket [env: MUSTER_DATABASE_URL or DATABASE_URL]
        #[arg(value_name = "URL", help_heading = "Database")]
        database_url,
    }
}

group! {
    /// Where firmware lies, and the key to the secrets.
    StoreFlags {
        /// Where firmware lies: file:///absolute/dir or s3://bucket/prefix (endpoint, region and keys from AWS_ENDPOINT_URL,
        /// AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) [env: MUSTER_STORE]
        #[arg(value_name = "URL", help_heading = "Storage")]
        store,
        /// Allow an S3 endpoint without TLS [env: MUSTER_STORE_ALLOW_HTTP]
        #[arg(value_name = "BOOL", help_heading = "Storage", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        store_allow_http,
    }
}

group! {
    /// What the device listener shows.
    TlsFlags {
        /// The device listener's certificate and its chain, a PEM file [env: MUSTER_DEVICE_CERT]
        #[arg(value_name = "FILE", help_heading = "Device listener")]
        device_cert,
        /// Its private key, a PEM file [env: MUSTER_DEVICE_KEY]
        #[arg(value_name = "FILE", help_heading = "Device listener")]
        device_key,
    }
}

group! {
    /// How the server meets the world.
    FrontFlags {
        /// Where the dashboard and the REST API listen [env: MUSTER_WEB_ADDR] [default: 127.0.0.1:4000]
        #[arg(long = "web", alias = "web-addr", value_name = "ADDR", help_heading = "Addresses")]
        web_addr,
        /// Where devices connect, over TLS [env: MUSTER_DEVICE_ADDR] [default: 127.0.0.1:4001]
        #[arg(long = "devices", alias = "device-addr", value_name = "ADDR", help_heading = "Addresses")]
        device_addr,
        /// Where people reach the dashboard: links and cookies use it [env: MUSTER_PUBLIC_URL] [default: http://localhost and the web port]
        #[arg(value_name = "URL", help_heading = "Addresses")]
        public_url,
        /// Where devices fetch firmware [env: MUSTER_FIRMWARE_URL] [default: https:// and the device listener's address]
        #[arg(value_name = "URL", help_heading = "Addresses")]
        firmware_url,
        /// How long a URL of firmware is good for: a number with s, m, h or d [env: MUSTER_FIRMWARE_URL_LIFETIME] [default: 24h]
        #[arg(value_name = "TIME", help_heading = "Addresses")]
        firmware_url_lifetime,
        /// New connections of devices that are taken each second; more wait [env: MUSTER_DEVICE_CONNECT_RATE] [default: 4000]
        #[arg(value_name = "N", help_heading = "Device listener")]
        device_connect_rate,
        /// TLS handshakes of devices at once; more wait [env: MUSTER_DEVICE_HANDSHAKES] [default: 1024]
        #[arg(value_name = "N", help_heading = "Device listener")]
        device_handshakes,
        /// A listener of its own for Prometheus: /metrics without a token [env: MUSTER_METRICS_ADDR]
        #[arg(value_name = "ADDR", help_heading = "Figures")]
        metrics_addr,
        /// The bearer token that opens /metrics on the web listener [env: MUSTER_METRICS_TOKEN]
        #[arg(value_name = "TOKEN", help_heading = "Figures")]
        metrics_token,
    }
}

group! {
    /// How the nodes of one installation meet.
    NodeFlags {
        /// A NATS server that wakes the nodes when there is news, in place of the database's NOTIFY: nats://user:password@host:4222
        /// [env: MUSTER_NATS_URL]
        #[arg(value_name = "URL", help_heading = "Nodes")]
        nats_url,
    }
}

group! {
    /// What is logged, on standard error.
    LogFlags {
        /// What is logged, such as info or info,muster_server=debug [env: MUSTER_LOG] [default: info]
        #[arg(global = true, value_name = "FILTER", help_heading = "Logging")]
        log,
        /// How: text for people, json for machines [env: MUSTER_LOG_FORMAT] [default: text]
        #[arg(global = true, value_name = "FORMAT", help_heading = "Logging")]
        log_format,
    }
}

group! {
    /// The key outside the database.
    MasterKeyFlags {
        /// The 32-byte key that opens the secrets in the database: a file, or the key itself in hex or base64 [env: MUSTER_MASTER_KEY]
        #[arg(value_name = "KEY", help_heading = "Storage")]
        master_key,
    }
}
