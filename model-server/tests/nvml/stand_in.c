// A library that stands in for NVIDIA's management library, as far as the model server calls it. The file that NVML_SCRIPT names
// says what it shows, and may change at any time. Its words:
//
//   devices=N        how many there are
//   busy=I:P         the number of a device, and how busy it is in percent
//   partitioned=I    a device with partitions (MIG)
//   lost=I           a device that answers nothing any more
//   hang=I           a device whose calls do not return
//   no-samples       there is no buffer of samples, only the latest value

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
enum { VALUE_UNSIGNED_INT = 1, SAMPLES = 4, MOST_DEVICES = 16 };

typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned long long time; union { double d; unsigned u; unsigned long long ull; } value; } Sample;

static char numbers[MOST_DEVICES];

static int script(char *text, size_t size) {
    const char *path = getenv("NVML_SCRIPT");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    size_t length = fread(text, 1, size - 1, file);
    fclose(file);
    text[length] = 0;
    return 1;
}

// The value of a word for a device, and whether it is there.
static int word(const char *name, int device, int *value) {
    char text[1024], key[64];
    if (!script(text, sizeof text)) return 0;
    snprintf(key, sizeof key, device < 0 ? "%s=" : "%s=%d", name, device);
    for (char *rest, *part = strtok_r(text, " \n", &rest); part; part = strtok_r(NULL, " \n", &rest)) {
        size_t length = strlen(key);
        if (strncmp(part, key, length)) continue;
        if (device >= 0 && part[length] && part[length] != ':') continue;
        if (value) *value = atoi(part + length + (device >= 0 && part[length] == ':'));
        return 1;
    }
    return 0;
}

static int flag(const char *name) {
    char text[1024];
    return script(text, sizeof text) && strstr(text, name) != NULL;
}

static int number(const void *device) { return (int)((const char *)device - numbers); }

static int reach(const void *device) {
    while (word("hang", number(device), NULL)) usleep(1000);
    return word("lost", number(device), NULL) ? GPU_IS_LOST : SUCCESS;
}

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { return result == GPU_IS_LOST ? "GPU is lost" : "another error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    int devices = 0;
    word("devices", -1, &devices);
    *count = (unsigned)devices;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    int devices = 0;
    word("devices", -1, &devices);
    if (index >= (unsigned)devices || index >= MOST_DEVICES) return INVALID_ARGUMENT;
    *device = &numbers[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strncmp(uuid, "GPU-", 4)) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2((unsigned)(uuid[4] - 'a'), device);
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    int status = reach(device);
    if (status) return status;
    if (length < 16) return INSUFFICIENT_SIZE;
    snprintf(uuid, length, "GPU-%caaaaaaa", 'a' + number(device));
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    int status = reach(device);
    if (status) return status;
    *current = *pending = (unsigned)word("partitioned", number(device), NULL);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, Utilization *utilization) {
    int status = reach(device), busy = 0;
    if (status) return status;
    if (word("partitioned", number(device), NULL)) return NOT_SUPPORTED;
    word("busy", number(device), &busy);
    utilization->gpu = (unsigned)busy;
    utilization->memory = 0;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, Memory *memory) {
    int status = reach(device);
    if (status) return status;
    memory->total = 80ull << 30;
    memory->reserved = 0;
    memory->used = (unsigned long long)(number(device) + 1) << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetSamples(void *device, int kind, unsigned long long newer_than, int *type, unsigned *count, Sample *samples) {
    (void)kind;
    int status = reach(device), busy = 0;
    if (status) return status;
    if (word("partitioned", number(device), NULL) || flag("no-samples")) return NOT_SUPPORTED;
    *type = VALUE_UNSIGNED_INT;
    if (!samples) {
        *count = SAMPLES;
        return SUCCESS;
    }
    word("busy", number(device), &busy);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    unsigned long long micros = (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
    unsigned kept = 0;
    for (unsigned age = SAMPLES; age-- > 0 && kept < *count;) {
        unsigned long long time = micros - age * 1000;
        if (time <= newer_than) continue;
        samples[kept].time = time;
        samples[kept].value.ull = 0;
        samples[kept++].value.u = (unsigned)busy;
    }
    *count = kept;
    return kept ? SUCCESS : NOT_FOUND;
}
