/* An integer mix for the interpreter: hashing, sorting, a list, a matrix, strings. No C library. */
typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

static u64 seed = 88172645463325252ul;
static u64 next_random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static u32 crc_table[256];
static void make_crc(void) {
  for (u32 i = 0; i < 256; i++) {
    u32 c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    crc_table[i] = c;
  }
}
static u32 crc(const u8 *p, u64 n) {
  u32 c = ~0u;
  for (u64 i = 0; i < n; i++) c = crc_table[(c ^ p[i]) & 255] ^ (c >> 8);
  return ~c;
}

#define N 2048
static u64 numbers[N];
static void sort(long lo, long hi) {
  while (lo < hi) {
    u64 pivot = numbers[(lo + hi) / 2];
    long i = lo, j = hi;
    while (i <= j) {
      while (numbers[i] < pivot) i++;
      while (numbers[j] > pivot) j--;
      if (i <= j) {
        u64 t = numbers[i];
        numbers[i++] = numbers[j];
        numbers[j--] = t;
      }
    }
    sort(lo, j);
    lo = i;
  }
}

struct node { struct node *next; u64 value; };
static struct node nodes[N];
static u64 walk(void) {
  for (int i = 0; i < N; i++) {
    nodes[i].next = &nodes[(i * 769 + 13) % N];
    nodes[i].value = i * 3 + 1;
  }
  u64 sum = 0;
  struct node *p = nodes;
  for (int i = 0; i < 4 * N; i++, p = p->next) {
    sum += p->value;
    if (sum & 1) p->value ^= sum;
  }
  return sum;
}

#define M 24
static int a[M][M], b[M][M], c[M][M];
static u64 matrix(void) {
  for (int i = 0; i < M; i++)
    for (int j = 0; j < M; j++) {
      a[i][j] = i + j;
      b[i][j] = i - j;
    }
  for (int i = 0; i < M; i++)
    for (int j = 0; j < M; j++) {
      int s = 0;
      for (int k = 0; k < M; k++) s += a[i][k] * b[k][j];
      c[i][j] = s;
    }
  return c[3][5] + c[M - 1][M - 1];
}

static u8 text[4096];
static u64 count_words(void) {
  u64 words = 0, state = 0;
  for (int i = 0; i < 4096; i++) {
    u8 ch = text[i];
    switch (ch & 15) {
      case 0: state = 0; break;
      case 1: if (!state) words++; state = 1; break;
      case 2: words += 2; break;
      default: state = ch > 100 ? 1 : state;
    }
  }
  return words;
}

u64 work(u64 rounds) {
  u64 result = 0;
  make_crc();
  for (u64 r = 0; r < rounds; r++) {
    for (int i = 0; i < N; i++) numbers[i] = next_random();
    for (int i = 0; i < 4096; i++) text[i] = numbers[i % N] >> (i & 31);
    sort(0, N - 1);
    result += numbers[N / 3] + walk() + matrix() + count_words();
    result ^= crc(text, 4096);
  }
  return result;
}

__asm__(".globl _start\n_start: call work\n ecall\n");
