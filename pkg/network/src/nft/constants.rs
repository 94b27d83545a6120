//! Numbers of linux/netfilter/nf_tables.h that libc does not have, or has in other types.

pub(super) const SUBSYSTEM: u16 = 10;
pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;

/// Message types, as they are sent: subsystem and number.
pub(super) const NEW_TABLE: u16 = SUBSYSTEM << 8;
pub(super) const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
pub(super) const DEL_SET: u16 = SUBSYSTEM << 8 | 11;
pub(super) const DEL_TABLE: u16 = SUBSYSTEM << 8 | 2;
pub(super) const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
pub(super) const DEL_CHAIN: u16 = SUBSYSTEM << 8 | 5;
pub(super) const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
pub(super) const DEL_RULE: u16 = SUBSYSTEM << 8 | 8;
pub(super) const NEW_SET: u16 = SUBSYSTEM << 8 | 9;
pub(super) const NEW_ELEMENTS: u16 = SUBSYSTEM << 8 | 12;
pub(super) const DEL_ELEMENTS: u16 = SUBSYSTEM << 8 | 14;

pub(super) const TABLE_NAME: u16 = 1;

pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const HOOK_NUMBER: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;

pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
pub(super) const LIST_ELEMENT: u16 = 1;
pub(super) const EXPRESSION_NAME: u16 = 1;
pub(super) const EXPRESSION_DATA: u16 = 2;

pub(super) const SET_TABLE: u16 = 1;
pub(super) const SET_NAME: u16 = 2;
pub(super) const SET_FLAGS: u16 = 3;
pub(super) const SET_KEY_TYPE: u16 = 4;
pub(super) const SET_KEY_LENGTH: u16 = 5;
pub(super) const SET_DATA_TYPE: u16 = 6;
pub(super) const SET_DATA_LENGTH: u16 = 7;
pub(super) const SET_DESCRIPTION: u16 = 9;
pub(super) const SET_ID: u16 = 10;
pub(super) const SET_TIMEOUT: u16 = 11;
pub(super) const FLAG_TIMEOUT: u32 = 16;
/// Rules change it.
pub(super) const FLAG_EVALUATED: u32 = 32;
pub(super) const DESCRIPTION_SIZE: u16 = 1;
pub(super) const FLAG_ANONYMOUS: u32 = 1;
pub(super) const FLAG_CONSTANT: u32 = 2;
pub(super) const FLAG_MAP: u32 = 8;

pub(super) const ELEMENTS_TABLE: u16 = 1;
pub(super) const ELEMENTS_SET: u16 = 2;
pub(super) const ELEMENTS_LIST: u16 = 3;
pub(super) const ELEMENTS_SET_ID: u16 = 4;
pub(super) const ELEMENT_KEY: u16 = 1;
pub(super) const ELEMENT_DATA: u16 = 2;

pub(super) const DATA_VALUE: u16 = 1;
pub(super) const DATA_VERDICT: u16 = 2;
pub(super) const VERDICT_CODE: u16 = 1;
pub(super) const VERDICT_CHAIN: u16 = 2;
/// The "type" of a map's data that is a verdict.
pub(super) const TYPE_VERDICT: u32 = 0xffff_ff00;

/// nft's numbers of data types; a concatenation shifts them together by six bits each. The kernel does
/// not look at them; `nft list` needs them to show the elements.
pub(super) const TYPE_INTEGER: u32 = 4;
pub(super) const TYPE_IPV4: u32 = 7;
pub(super) const TYPE_PROTOCOL: u32 = 12;
pub(super) const TYPE_PORT: u32 = 13;

pub(super) const REGISTER_VERDICT: u32 = 0;
/// The first 16-byte register; its four 4-byte parts are 8 to 11, the next one's 12 to 15.
pub(super) const REGISTER_1: u32 = 1;
/// The second 16-byte register.
pub(super) const REGISTER_2: u32 = 2;
pub(super) const REGISTER_1_PARTS: [u32; 4] = [REGISTER_1, 9, 10, 11];
