// Copies keys and values of past prompts between the buffers of a sequence and blocks of BLOCK tokens, which hold those
// of all buffers one after the other. A launch covers some buffers (grid.y), all of their heads (grid.z) and some
// blocks (grid.x).
#define BLOCK 64
#define MOST_PARTS 48
#define MOST_BLOCKS 192

struct Part {
  u8* at;            // [heads, slots, run]
  long long before;  // bytes of a token in the buffers before it
  int heads, slots;
  int run;           // bytes of a token in a head, a multiple of 16
};

struct BlocksParams {
  Part parts[MOST_PARTS];
  u8* blocks[MOST_BLOCKS];
  int first;   // the slot of the first block's first token
  int tokens;  // the number of tokens copied from there; zeros follow in the buffers
  int last;  // the tokens that the last block holds, copied or not
  int count;  // the number of blocks; grid.x may be larger if zeros follow
  int saves;   // from the buffers into blocks
};

extern "C" __global__ void __launch_bounds__(256) copy_blocks(const __grid_constant__ BlocksParams p) {
  let_next_begin();
  wait_for_earlier();
  const Part& part = p.parts[blockIdx.y];
  const int head = blockIdx.z, block = blockIdx.x, slot = p.first + block * BLOCK;
  if (head >= part.heads || slot >= part.slots) return;
  const int units = part.run / 16, held = block == p.count - 1 ? p.last : BLOCK;
  uint4* const buffer = (uint4*)(part.at + ((long long)head * part.slots + slot) * part.run);
  uint4* const own =
      block < p.count ? (uint4*)(p.blocks[block] + part.before * held + (long long)head * held * part.run) : 0;
  const int copied = max(0, min(BLOCK, p.tokens - block * BLOCK)), all = min(BLOCK, part.slots - slot);
  for (int i = threadIdx.x; i < (p.saves ? copied : all) * units; i += 256) {
    if (p.saves) {
      own[i] = buffer[i];
    } else {
      buffer[i] = i < copied * units ? own[i] : uint4{0, 0, 0, 0};
    }
  }
}
