/* Mel energies from DFTs, with each frame's magnitudes kept in the processor's cache. See mel.py. */

#include <math.h>

enum { LANES = 16 };  /* Products that are added side by side: a loop of fixed length becomes vector instructions. */

/* mel[frame][band] = sum of |spectrum[frame][bin]| * weight. A band has blocks[band] * LANES weights, all bands' one
after the other, for the bins from first[band] on; those after the last bin count as 0. */
void mel_energies(long frames, long bins, const float *spectrum, long bands, const long *first, const long *blocks,
                  const float *weights, float *mel) {
    float magnitude[bins + LANES];
    for (long j = 0; j < LANES; j++) magnitude[bins + j] = 0;
    for (long frame = 0; frame < frames; frame++, spectrum += 2 * bins, mel += bands) {
        for (long i = 0; i < bins; i++) {
            float real = spectrum[2 * i], imaginary = spectrum[2 * i + 1];
            magnitude[i] = sqrtf(real * real + imaginary * imaginary);
        }
        const float *weight = weights;
        for (long band = 0; band < bands; band++) {
            const float *value = magnitude + first[band];
            float sums[LANES] = {0}, sum = 0;
            for (long block = 0; block < blocks[band]; block++, value += LANES, weight += LANES)
                for (long j = 0; j < LANES; j++) sums[j] += value[j] * weight[j];
            for (long j = 0; j < LANES; j++) sum += sums[j];
            mel[band] = sum;
        }
    }
}
