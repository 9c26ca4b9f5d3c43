#![no_main]

muster_fuzz::target!("vcdiff");
