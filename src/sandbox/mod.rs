//! Every platform emulated on loopback, written from its sheet's facts and never from a connector's code.
