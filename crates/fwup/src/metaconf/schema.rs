//! Which options and sections there are, in the order in which they are printed (format §2.2, §2.4).

/// The type of an option, with its default where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string, or a number that keeps its spelling.
    Text(&'static str),
    Number(i64),
    Flag,
    List,
    Numbers,
}

/// An option.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OptionSpec {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// False for what a config may say but `meta.conf` never does.
    pub(crate) emitted: bool,
}

/// A kind of section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SectionSpec {
    pub(crate) name: &'static str,
    pub(crate) titled: bool,
    /// Printed although nothing is in it.
    pub(crate) keep_empty: bool,
    pub(crate) options: &'static [OptionSpec],
    pub(crate) sections: &'static [&'static SectionSpec],
}

/// Largest 32-bit number, the default of counts.
const MANY: i64 = 0x7fff_ffff;

const fn opt(name: &'static str, kind: Kind) -> OptionSpec {
    OptionSpec {
        name,
        kind,
        emitted: true,
    }
}

const fn text(name: &'static str) -> OptionSpec {
    opt(name, Kind::Text(""))
}

const fn only_in_config(name: &'static str, kind: Kind) -> OptionSpec {
    OptionSpec {
        name,
        kind,
        emitted: false,
    }
}

const fn section(
    name: &'static str,
    titled: bool,
    options: &'static [OptionSpec],
    sections: &'static [&'static SectionSpec],
) -> SectionSpec {
    SectionSpec {
        name,
        titled,
        keep_empty: false,
        options,
        sections,
    }
}

/// The file as a whole.
pub(crate) static ROOT: SectionSpec = section(
    "",
    false,
    &[
        text("meta-product"),
        text("meta-description"),
        text("meta-version"),
        text("meta-author"),
        text("meta-platform"),
        text("meta-architecture"),
        only_in_config("meta-creation-date", Kind::Text("")),
        text("meta-fwup-version"),
        text("meta-vcs-identifier"),
        text("meta-misc"),
        only_in_config("meta-uuid", Kind::Text("")),
        only_in_config("meta-nickname", Kind::Text("")),
        opt("require-fwup-version", Kind::Text("0")),
        opt("block-cache-size-mb", Kind::Number(8)),
    ],
    &[&FILE_RESOURCE, &MBR, &GPT, &TASK, &UBOOT_ENVIRONMENT],
);

static FILE_RESOURCE: SectionSpec = section(
    "file-resource",
    true,
    &[
        only_in_config("host-path", Kind::Text("")),
        only_in_config("contents", Kind::Text("")),
        only_in_config("skip-holes", Kind::Flag),
        only_in_config("assert-size-lte", Kind::Number(-1)),
        only_in_config("assert-size-gte", Kind::Number(-1)),
        opt("length", Kind::Numbers),
        text("blake2b-256"),
        text("sha256"),
    ],
    &[],
);

static MBR: SectionSpec = section(
    "mbr",
    true,
    &[
        only_in_config("bootstrap-code-host-path", Kind::Text("")),
        text("bootstrap-code"),
        text("signature"),
        opt("include-osip", Kind::Flag),
        opt("osip-major", Kind::Number(1)),
        opt("osip-minor", Kind::Number(0)),
        opt("osip-num-pointers", Kind::Number(1)),
    ],
    &[&MBR_PARTITION, &OSII],
);

static MBR_PARTITION: SectionSpec = section(
    "partition",
    true,
    &[
        text("block-offset"),
        opt("block-count", Kind::Number(MANY)),
        opt("type", Kind::Number(-1)),
        opt("boot", Kind::Flag),
        opt("expand", Kind::Flag),
    ],
    &[],
);

static OSII: SectionSpec = section(
    "osii",
    true,
    &[
        opt("os-major", Kind::Number(0)),
        opt("os-minor", Kind::Number(0)),
        opt("start-block-offset", Kind::Number(0)),
        opt("ddr-load-address", Kind::Number(0)),
        opt("entry-point", Kind::Number(0)),
        opt("image-size-blocks", Kind::Number(0)),
        opt("attribute", Kind::Number(15)),
    ],
    &[],
);

static GPT: SectionSpec = section("gpt", true, &[text("guid")], &[&GPT_PARTITION]);

static GPT_PARTITION: SectionSpec = section(
    "partition",
    true,
    &[
        text("block-offset"),
        opt("block-count", Kind::Number(MANY)),
        text("type"),
        text("guid"),
        text("name"),
        opt("flags", Kind::Text("0")),
        opt("expand", Kind::Flag),
        only_in_config("boot", Kind::Flag),
    ],
    &[],
);

static TASK: SectionSpec = SectionSpec {
    name: "task",
    titled: true,
    keep_empty: true,
    options: &[
        opt("reqlist", Kind::List),
        opt("require-partition1-offset", Kind::Number(-1)),
        opt("require-unmounted-destination", Kind::Flag),
        opt("verify-on-the-fly", Kind::Flag),
    ],
    sections: &[&ON_INIT, &ON_FINISH, &ON_ERROR, &ON_RESOURCE],
};

static ON_INIT: SectionSpec = section("on-init", false, &[opt("funlist", Kind::List)], &[]);
static ON_FINISH: SectionSpec = section("on-finish", false, &[opt("funlist", Kind::List)], &[]);
static ON_ERROR: SectionSpec = section("on-error", false, &[opt("funlist", Kind::List)], &[]);
static ON_RESOURCE: SectionSpec = section(
    "on-resource",
    true,
    &[
        opt("verify-on-the-fly", Kind::Flag),
        text("delta-source-raw-offset"),
        opt("delta-source-raw-count", Kind::Number(MANY)),
        text("delta-source-raw-options"),
        text("delta-source-fat-offset"),
        text("delta-source-fat-path"),
        opt("funlist", Kind::List),
    ],
    &[],
);

static UBOOT_ENVIRONMENT: SectionSpec = section(
    "uboot-environment",
    true,
    &[
        text("block-offset"),
        opt("block-count", Kind::Number(0)),
        text("block-offset-redund"),
    ],
    &[],
);
