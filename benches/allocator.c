// Takes mimalloc away from a program that was linked with it, so that one binary can be
// measured with and without.
//
// The program defines `malloc` and its kin itself, and a symbol of the program comes before one of a preloaded library; so
// this library overwrites the entry of each of them, and of the functions that Rust's allocator calls, with a jump to
// glibc's, before anything else has run.
//
// build: gcc -O2 -shared -fPIC -Wl,-z,initfirst allocator.c -o allocator.so       use: LD_PRELOAD=$PWD/allocator.so PROGRAM
// It says so on stderr, in every process in which it found mimalloc.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the jump written here is x86-64's"
#endif

// What the dynamic loader allocated before came from the program's own `malloc`: a few blocks in its arena, which are left
// where they are. Nothing of glibc's can lie in that mapping later.
static uintptr_t arena_start, arena_end;
static void (*glibc_free)(void *);
static void *(*glibc_malloc)(size_t);
static void *(*glibc_realloc)(void *, size_t);
static void *(*calloc_of_glibc)(size_t, size_t);
static void *(*memalign_of_glibc)(size_t, size_t);
static size_t (*usable_of_glibc)(void *);

static int is_from_before(const void *p) { return (uintptr_t)p >= arena_start && (uintptr_t)p < arena_end; }

// The mappings without a gap around `p`.
static void find_arena(uintptr_t p) {
  FILE *maps = fopen("/proc/self/maps", "r");
  unsigned long start, end, run_start = 0, run_end = 0;
  char rest[512];
  while (maps != NULL && fscanf(maps, "%lx-%lx%511[^\n]", &start, &end, rest) == 3) {
    if (start != run_end || strchr(rest, '/') != NULL) {
      run_start = start;
    }
    run_end = end;
    if (p >= run_start && p < run_end) {
      arena_start = run_start;
      arena_end = run_end;
    }
  }
  if (maps != NULL) {
    fclose(maps);
  }
}

static void free_here(void *p) {
  if (!is_from_before(p)) {
    glibc_free(p);
  }
}

static void *realloc_here(void *p, size_t size) {
  if (!is_from_before(p)) {
    return glibc_realloc(p, size);
  }
  void *fresh = glibc_malloc(size);
  return fresh == NULL ? NULL : memcpy(fresh, p, size);
}

// jmp *0(%rip); the address follows
static void jump(void *from, void *to) {
  unsigned char code[14] = {0xff, 0x25, 0, 0, 0, 0};
  memcpy(code + 6, &to, sizeof to);
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t start = (uintptr_t)from & ~(page - 1);
  const uintptr_t end = ((uintptr_t)from + sizeof code + page - 1) & ~(page - 1);
  if (mprotect((void *)start, end - start, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
    perror("allocator.so: mprotect");
    _exit(2);
  }
  memcpy(from, code, sizeof code);
  mprotect((void *)start, end - start, PROT_READ | PROT_EXEC);
}

static void *zeroed(size_t size) { return calloc_of_glibc(1, size); }
static void *aligned(size_t size, size_t alignment) { return memalign_of_glibc(alignment, size); }
static void *zeroed_aligned(size_t size, size_t alignment) {
  void *p = memalign_of_glibc(alignment, size);
  return p == NULL ? NULL : memset(p, 0, size);
}
static void *realloc_aligned(void *p, size_t size, size_t alignment) {
  if (alignment <= 16) {
    return realloc_here(p, size);
  }
  void *fresh = memalign_of_glibc(alignment, size);
  if (fresh != NULL && p != NULL) {
    const size_t old = usable_of_glibc(p);
    memcpy(fresh, p, old < size ? old : size);
    free_here(p);
  }
  return fresh;
}

// Where the program has a function of this name, from its own symbol table: most of these are not exported.
static void *in_program(const char *name, const char *image, uintptr_t base) {
  const Elf64_Ehdr *head = (const Elf64_Ehdr *)image;
  const Elf64_Shdr *sections = (const Elf64_Shdr *)(image + head->e_shoff);
  for (unsigned s = 0; s < head->e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB) {
      continue;
    }
    const Elf64_Sym *symbols = (const Elf64_Sym *)(image + sections[s].sh_offset);
    const char *strings = image + sections[sections[s].sh_link].sh_offset;
    for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; ++i) {
      if (symbols[i].st_value != 0 && ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC &&
          strcmp(strings + symbols[i].st_name, name) == 0) {
        return (void *)(base + symbols[i].st_value);
      }
    }
  }
  return NULL;
}

__attribute__((constructor)) static void take_over(void) {
  const int file = open("/proc/self/exe", O_RDONLY);
  struct stat info;
  if (file < 0 || fstat(file, &info) != 0) {
    return;
  }
  const char *image = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  Dl_info program;
  void *own_malloc = dlsym(RTLD_DEFAULT, "malloc");
  if (image == MAP_FAILED || dladdr(own_malloc, &program) == 0 ||
      in_program("mi_malloc", image, 0) == NULL) {
    return;  // the shell that starts the program, say
  }
  find_arena((uintptr_t)malloc(64));
  void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  glibc_free = (void (*)(void *))dlsym(libc, "free");
  glibc_malloc = (void *(*)(size_t))dlsym(libc, "malloc");
  glibc_realloc = (void *(*)(void *, size_t))dlsym(libc, "realloc");
  calloc_of_glibc = (void *(*)(size_t, size_t))dlsym(libc, "calloc");
  memalign_of_glibc = (void *(*)(size_t, size_t))dlsym(libc, "memalign");
  usable_of_glibc = (size_t (*)(void *))dlsym(libc, "malloc_usable_size");
  void *posix_memalign_of_glibc = dlsym(libc, "posix_memalign");
  const struct {
    const char *name;
    void *to;
  } all[] = {
      {"malloc", glibc_malloc},
      {"mi_malloc", glibc_malloc},
      {"free", free_here},
      {"mi_free", free_here},
      {"calloc", calloc_of_glibc},
      {"mi_calloc", calloc_of_glibc},
      {"realloc", realloc_here},
      {"mi_realloc", realloc_here},
      {"mi_zalloc", zeroed},
      {"mi_malloc_aligned", aligned},
      {"mi_zalloc_aligned", zeroed_aligned},
      {"mi_realloc_aligned", realloc_aligned},
      {"memalign", memalign_of_glibc},
      {"aligned_alloc", memalign_of_glibc},
      {"posix_memalign", posix_memalign_of_glibc},
      {"malloc_usable_size", usable_of_glibc},
      // new, new[] and delete, delete[]: of the size alone, and as what must not throw
      {"_Znwm", glibc_malloc},
      {"_Znam", glibc_malloc},
      {"_ZnwmRKSt9nothrow_t", glibc_malloc},
      {"_ZnamRKSt9nothrow_t", glibc_malloc},
      {"_ZnwmSt11align_val_t", aligned},
      {"_ZnamSt11align_val_t", aligned},
      {"_ZdlPv", free_here},
      {"_ZdaPv", free_here},
      {"_ZdlPvm", free_here},
      {"_ZdaPvm", free_here},
      {"_ZdlPvSt11align_val_t", free_here},
      {"_ZdaPvSt11align_val_t", free_here},
      {"_ZdlPvmSt11align_val_t", free_here},
      {"_ZdaPvmSt11align_val_t", free_here},
  };
  const Elf64_Ehdr *head = (const Elf64_Ehdr *)image;
  const uintptr_t base = head->e_type == ET_DYN ? (uintptr_t)program.dli_fbase : 0;
  void *entries[sizeof all / sizeof *all];
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    entries[i] = in_program(all[i].name, image, base);
  }
  unsigned taken = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    if (entries[i] != NULL) {
      jump(entries[i], all[i].to);
      ++taken;
    }
  }
  munmap((void *)image, (size_t)info.st_size);
  if (taken > 0) {
    static const char said[] = "allocator.so: glibc's malloc instead of mimalloc\n";
    (void)!write(STDERR_FILENO, said, sizeof said - 1);
  }
}
