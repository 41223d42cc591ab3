//! The matrix unit in software, for machines that lack it: the tests install a handler for illegal instructions that does what the tile instructions
//! do and goes on behind them. What is tested is then the very code that runs on the unit, down to its encoding.
//!
//! Semantics: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2 (`tdpbf16ps` keeps the sums of even and odd elements apart, adds
//! them, then adds to the result; denormal numbers count as zero).

use std::cell::UnsafeCell;
use std::sync::Once;

const TILE_BYTES: usize = 1024;

thread_local! {
    static TILES: UnsafeCell<[[u8; TILE_BYTES]; 8]> = const { UnsafeCell::new([[0; TILE_BYTES]; 8]) };
}

/// Lets the tile instructions work in this process, on the machine's own unit where there is one.
pub(in crate::cpu_device) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if super::tiles::available() {
            return;
        }
        // SAFETY: a zeroed sigaction is a valid one; the handler touches nothing but the thread's tiles and the memory the instruction names.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()), 0);
        }
    });
}

extern "C" fn handle(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system gives a handler the context of the thread it interrupted.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize];
    // SAFETY: an instruction that was just refused; the longest has fifteen bytes, and code follows it in these tests.
    let code = unsafe { std::slice::from_raw_parts(at as *const u8, 15) };
    let done = Instruction::decode(code, registers).and_then(|instruction| {
        // SAFETY: the memory that the program's own instruction names.
        unsafe { instruction.execute() }.then_some(instruction.len)
    });
    match done {
        Some(len) => registers[libc::REG_RIP as usize] = at + len as i64,
        // SAFETY: back to what happens without this handler: the process ends at the same instruction.
        None => unsafe {
            libc::signal(libc::SIGILL, libc::SIG_DFL);
        },
    }
}

/// A decoded tile instruction.
struct Instruction {
    prefix: u8,
    opcode: u8,
    /// The fields of ModRM, and the register of VEX.
    register: usize,
    operand: Operand,
    third: usize,
    len: usize,
}

enum Operand {
    Tile(usize),
    Memory { base: i64, stride: i64 },
}

impl Instruction {
    /// Reads a three-byte VEX instruction of the map 0F38.
    fn decode(code: &[u8], registers: &[i64; 23]) -> Option<Self> {
        let &[0xc4, first, second, opcode, modrm, ..] = code else { return None };
        if first & 31 != 2 {
            return None;
        }
        let (mode, register, low) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
        let extension = |bit: u8| if first >> bit & 1 == 0 { 8 } else { 0 };
        let mut len = 5;
        let operand = if mode == 3 {
            Operand::Tile(low)
        } else {
            let (mut base, mut stride) = (0, 0);
            let mut base_register = low;
            if low == 4 {
                let sib = code[5];
                len = 6;
                base_register = usize::from(sib & 7);
                let index = usize::from(sib >> 3 & 7) + extension(6);
                stride = if index == 4 { 0 } else { value(registers, index) << (sib >> 6) };
            }
            if mode == 0 && base_register == 5 {
                return None;
            }
            base += value(registers, base_register + extension(5));
            match mode {
                1 => {
                    base += i64::from(code[len] as i8);
                    len += 1;
                }
                2 => {
                    base += i64::from(i32::from_le_bytes(code[len..len + 4].try_into().ok()?));
                    len += 4;
                }
                _ => {}
            }
            Operand::Memory { base, stride }
        };
        Some(Self { prefix: second & 3, opcode, register, operand, third: usize::from(!second >> 3 & 15), len })
    }

    /// # Safety
    /// Memory operands must be what the program may read or write.
    unsafe fn execute(&self) -> bool {
        TILES.with(|tiles| {
            // SAFETY: the handler of a thread runs once at a time, and nobody else has the thread's tiles.
            let tiles = unsafe { &mut *tiles.get() };
            match (self.opcode, self.prefix, &self.operand) {
                // ldtilecfg and tilerelease: all tiles are whole here, and their content is gone.
                (0x49, 0, _) => *tiles = [[0; TILE_BYTES]; 8],
                (0x49, 3, Operand::Tile(_)) => tiles[self.register] = [0; TILE_BYTES],
                (0x4b, prefix @ (2 | 3), Operand::Memory { base, stride }) => {
                    for row in 0..16 {
                        let memory = (base + row * stride) as *mut u8;
                        let line = &mut tiles[self.register][row as usize * 64..][..64];
                        // SAFETY: the caller's contract.
                        unsafe {
                            if prefix == 3 {
                                line.as_mut_ptr().copy_from(memory, 64);
                            } else {
                                line.as_ptr().copy_to(memory, 64);
                            }
                        }
                    }
                }
                (0x5c, 2, Operand::Tile(a)) => {
                    let (a, b) = (tiles[*a], tiles[self.third]);
                    dot_products(&mut tiles[self.register], &a, &b);
                }
                _ => return false,
            }
            true
        })
    }
}

/// A general register by its number in the encoding.
fn value(registers: &[i64; 23], number: usize) -> i64 {
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX,
        REG_RSI, REG_RSP,
    };
    let order = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13,
        REG_R14, REG_R15,
    ];
    registers[order[number] as usize]
}

/// `tdpbf16ps`.
fn dot_products(c: &mut [u8; TILE_BYTES], a: &[u8; TILE_BYTES], b: &[u8; TILE_BYTES]) {
    let flushed = |value: f32| if value.is_subnormal() { 0.0 } else { value };
    let half = |tile: &[u8], at: usize| flushed(f32::from_bits(u32::from(u16::from_le_bytes([tile[at], tile[at + 1]])) << 16));
    for row in 0..16 {
        for column in 0..16 {
            let mut sums = [0f32; 2];
            for pair in 0..16 {
                for (side, sum) in sums.iter_mut().enumerate() {
                    let product = half(a, row * 64 + pair * 4 + side * 2) * half(b, pair * 64 + column * 4 + side * 2);
                    *sum = flushed(*sum + product);
                }
            }
            let at = row * 64 + column * 4;
            let old = flushed(f32::from_le_bytes(c[at..at + 4].try_into().expect("four bytes")));
            c[at..at + 4].copy_from_slice(&flushed(old + flushed(sums[0] + sums[1])).to_le_bytes());
        }
    }
}
