#![no_main]

muster_fuzz::target!("uboot_env");
