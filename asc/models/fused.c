/* Batch norm and the 8-bit grid over a map, with each value read as few times as possible. See fused.py.

A map has `values` floats: rows of `channels` floats each, without gaps (channels_last). A grid has steps from `lowest`
to `highest` (0 to 255, minus the zero point), each `scale` wide: a value x is at step round(x * factor + offset).

Compilers turn a loop over one long line of floats into vector instructions, but a row may have only a few channels. So
a line is several rows, and what belongs to a channel is repeated for each row of the line (`repeat`). Sums are taken
over lines, then added up by channel (`add_up`). */

#include <math.h>

static long smaller(long a, long b) { return a < b ? a : b; }

/* Floats in a line: as many whole rows as fit 512 floats, at least one. */
static long line_of(long channels) { return channels < 512 ? 512 / channels * channels : channels; }

/* Floats in a piece: as many whole lines as fit 64 K floats. A piece stays in the processor's cache. */
static long piece_of(long line) { return line < 65536 ? 65536 / line * line : line; }

static void repeat(const float *of_channel, long channels, float *of_line, long line) {
    for (long j = 0; j < line; j++) of_line[j] = of_channel[j % channels];
}

static void add_up(const float *of_line, long line, double *of_channel, long channels) {
    for (long j = 0; j < line; j++) of_channel[j % channels] += of_line[j];
}

static float clamped(float x, float lowest, float highest) {
    float raised = x < lowest ? lowest : x;
    return raised > highest ? highest : raised;
}

static int within(float step, float lowest, float highest) { return step >= lowest && step <= highest; }

/* Adds a piece to each channel's mean and sum of squared differences from it, of `rows` rows so far. The squares are
taken from the mean of the piece, and the two means combined as in batch_norm.py. */
static void add_piece(long values, long channels, const float *x, double rows, double *mean, double *squares) {
    long line = line_of(channels);
    float sum[line], centre[line];
    double piece_mean[channels], piece_squares[channels], more = values / channels;
    for (long j = 0; j < line; j++) sum[j] = 0;
    for (long c = 0; c < channels; c++) piece_mean[c] = piece_squares[c] = 0;
    for (long i = 0; i < values; i += line) {
        long end = smaller(line, values - i);
        for (long j = 0; j < end; j++) sum[j] += x[i + j];
    }
    add_up(sum, line, piece_mean, channels);
    for (long j = 0; j < line; j++) centre[j] = piece_mean[j % channels] / more, sum[j] = 0;
    for (long i = 0; i < values; i += line) {
        long end = smaller(line, values - i);
        for (long j = 0; j < end; j++) {
            float difference = x[i + j] - centre[j];
            sum[j] += difference * difference;
        }
    }
    add_up(sum, line, piece_squares, channels);
    for (long c = 0; c < channels; c++) {
        double apart = centre[c] - mean[c];
        mean[c] += apart * more / (rows + more);
        squares[c] += piece_squares[c] + apart * apart * rows * more / (rows + more);
    }
}

/* A part of a map: `moments` are its number of values per channel, then the means, then the biased variances; `ends`
are each channel's lowest value, then each channel's highest. */
void moments(long values, long channels, const float *x, double *moments, float *ends) {
    double *mean = moments + 1, *squares = mean + channels;
    float *low = ends, *high = ends + channels;
    long line = line_of(channels), piece = piece_of(line);
    float line_low[line], line_high[line];
    for (long c = 0; c < channels; c++) mean[c] = squares[c] = 0, low[c] = INFINITY, high[c] = -INFINITY;
    for (long j = 0; j < line; j++) line_low[j] = INFINITY, line_high[j] = -INFINITY;
    for (long start = 0; start < values; start += piece) {
        long stop = smaller(start + piece, values);
        add_piece(stop - start, channels, x + start, start / channels, mean, squares);
        for (long i = start; i < stop; i += line) {
            long end = smaller(line, stop - i);
            for (long j = 0; j < end; j++) {
                float value = x[i + j];
                line_low[j] = value < line_low[j] ? value : line_low[j];
                line_high[j] = value > line_high[j] ? value : line_high[j];
            }
        }
    }
    for (long j = 0; j < line; j++) {
        long c = j % channels;
        low[c] = line_low[j] < low[c] ? line_low[j] : low[c];
        high[c] = line_high[j] > high[c] ? line_high[j] : high[c];
    }
    moments[0] = values / channels;
    for (long c = 0; c < channels; c++) squares[c] /= moments[0];
}

/* What batch norm does to a batch whose parts have these moments, (parts, 1 + 2 x channels), combined as in
batch_norm.py. For each channel: mean, biased variance, 1 / sqrt(variance + eps), and the factor and offset that are
applied; `ends` are those of x, `after` the lowest and the highest value that result. The running values follow. */
void normalisation(long channels, long parts, const double *moments, const float *ends, const float *weight,
                   const float *bias, float eps, float momentum, float *running_mean, float *running_variance,
                   float *mean, float *variance, float *inverse, float *factor, float *offset, float *after) {
    long row = 1 + 2 * channels;
    double total = 0;
    for (long p = 0; p < parts; p++) total += moments[p * row];
    float unbiased = (float)total / ((float)total - 1);
    after[0] = INFINITY, after[1] = -INFINITY;
    for (long c = 0; c < channels; c++) {
        double sum = 0, squares = 0;
        for (long p = 0; p < parts; p++) sum += moments[p * row] * moments[p * row + 1 + c];
        for (long p = 0; p < parts; p++) {
            double apart = moments[p * row + 1 + c] - sum / total;
            squares += moments[p * row] * (moments[p * row + 1 + channels + c] + apart * apart);
        }
        mean[c] = sum / total, variance[c] = squares / total;
        inverse[c] = 1 / sqrtf(variance[c] + eps);
        factor[c] = weight[c] * inverse[c];
        offset[c] = bias[c] - mean[c] * factor[c];
        running_mean[c] += momentum * (mean[c] - running_mean[c]);
        running_variance[c] += momentum * (variance[c] * unbiased - running_variance[c]);
        for (long end = 0; end < 2; end++) {
            float value = ends[end * channels + c] * factor[c] + offset[c];
            after[0] = value < after[0] || value != value ? value : after[0];
            after[1] = value > after[1] || value != value ? value : after[1];
        }
    }
}

/* y = scale * clamp(round(x * factor + offset)). */
void on_grid(long values, long channels, const float *x, const float *factor, const float *offset, float lowest,
             float highest, float scale, float *y) {
    long line = line_of(channels);
    float by[line], plus[line];
    repeat(factor, channels, by, line);
    repeat(offset, channels, plus, line);
    for (long i = 0; i < values; i += line) {
        long end = smaller(line, values - i);
        for (long j = 0; j < end; j++)
            y[i + j] = scale * clamped(rintf(x[i + j] * by[j] + plus[j]), lowest, highest);
    }
}

/* step = clamp(round(x * factor + offset)), counted from lowest. Returns whether all of them are numbers. */
int steps_on_grid(long values, long channels, const float *x, const float *factor, const float *offset, float lowest,
                  float highest, unsigned char *step) {
    long line = line_of(channels);
    float by[line], plus[line];
    int others = 0;
    repeat(factor, channels, by, line);
    repeat(offset, channels, plus, line);
    for (long i = 0; i < values; i += line) {
        long end = smaller(line, values - i);
        for (long j = 0; j < end; j++) {
            float exact = x[i + j] * by[j] + plus[j];
            others |= exact != exact;
            step[i + j] = (int)(clamped(rintf(exact), lowest, highest) - lowest);
        }
    }
    return !others;
}

/* For each channel, the sums of g and of g * (x - mean), where g is the gradient of the values within the grid. */
void gradient_sums(long values, long channels, const float *gradient, const float *x, const float *factor,
                   const float *offset, float lowest, float highest, const float *mean, double *sums,
                   double *products) {
    long line = line_of(channels), piece = piece_of(line);
    float by[line], plus[line], centre[line], sum[line], product[line];
    repeat(factor, channels, by, line);
    repeat(offset, channels, plus, line);
    repeat(mean, channels, centre, line);
    for (long c = 0; c < channels; c++) sums[c] = products[c] = 0;
    for (long start = 0; start < values; start += piece) {
        long stop = smaller(start + piece, values);
        for (long j = 0; j < line; j++) sum[j] = product[j] = 0;
        for (long i = start; i < stop; i += line) {
            long end = smaller(line, stop - i);
            for (long j = 0; j < end; j++) {
                float step = rintf(x[i + j] * by[j] + plus[j]);
                float g = within(step, lowest, highest) ? gradient[i + j] : 0;
                sum[j] += g;
                product[j] += g * (x[i + j] - centre[j]);
            }
        }
        add_up(sum, line, sums, channels);
        add_up(product, line, products, channels);
    }
}

/* result = g * weight - (x - mean) * slope - constant, with g as above. */
void gradient_of_x(long values, long channels, const float *gradient, const float *x, const float *factor,
                   const float *offset, float lowest, float highest, const float *mean, const float *weight,
                   const float *slope, const float *constant, float *result) {
    long line = line_of(channels);
    float by[line], plus[line], centre[line], times[line], less[line], minus[line];
    repeat(factor, channels, by, line);
    repeat(offset, channels, plus, line);
    repeat(mean, channels, centre, line);
    repeat(weight, channels, times, line);
    repeat(slope, channels, less, line);
    repeat(constant, channels, minus, line);
    for (long i = 0; i < values; i += line) {
        long end = smaller(line, values - i);
        for (long j = 0; j < end; j++) {
            float step = rintf(x[i + j] * by[j] + plus[j]);
            float g = within(step, lowest, highest) ? gradient[i + j] : 0;
            result[i + j] = g * times[j] - (x[i + j] - centre[j]) * less[j] - minus[j];
        }
    }
}

/* y = scale * clamp(round(x * factor)); inside is 1 where nothing was clamped. y may be x. */
void grid_and_mask(long values, const float *x, float factor, float lowest, float highest, float scale, float *y,
                   unsigned char *inside) {
    for (long i = 0; i < values; i++) {
        float step = rintf(x[i] * factor);
        inside[i] = within(step, lowest, highest);
        y[i] = scale * clamped(step, lowest, highest);
    }
}

/* The same without what the backward pass needs. */
void grid(long values, const float *x, float factor, float lowest, float highest, float scale, float *y) {
    for (long i = 0; i < values; i++) y[i] = scale * clamped(rintf(x[i] * factor), lowest, highest);
}

/* result = gradient where inside, else 0. */
void masked(long values, const float *gradient, const unsigned char *inside, float *result) {
    for (long i = 0; i < values; i++) result[i] = inside[i] ? gradient[i] : 0;
}

/* step = x * factor, modulo 256. Returns whether every one is a whole number; `ends` are the lowest and the highest. */
int whole_steps(long values, const float *x, float factor, unsigned char *step, int *ends) {
    int fractions = 0, lowest = 256, highest = -256;
    for (long i = 0; i < values; i++) {
        float exact = x[i] * factor, nearest = clamped(rintf(exact), -256, 256);
        int whole = nearest;
        fractions |= !(fabsf(exact - nearest) < 0.01f);
        lowest = whole < lowest ? whole : lowest;
        highest = whole > highest ? whole : highest;
        step[i] = (unsigned char)whole;
    }
    ends[0] = lowest, ends[1] = highest;
    return !fractions;
}

/* y = (step - zero) * scale. */
void from_steps(long values, const unsigned char *step, float zero, float scale, float *y) {
    for (long i = 0; i < values; i++) y[i] = (step[i] - zero) * scale;
}

/* Puts weights, `outputs` rows of `each` floats, on the grid of a row: its largest magnitude is `steps` steps. */
void weights_on_grid(long outputs, long each, const float *weight, float steps, float smallest_scale, float *scale,
                     signed char *step, float *value) {
    for (long o = 0; o < outputs; o++) {
        float largest = 0;
        for (long i = o * each; i < (o + 1) * each; i++) {
            float magnitude = fabsf(weight[i]);
            largest = magnitude > largest || magnitude != magnitude ? magnitude : largest;
        }
        scale[o] = largest / steps < smallest_scale ? smallest_scale : largest / steps;
        float factor = 1 / scale[o];
        for (long i = o * each; i < (o + 1) * each; i++) {
            float nearest = rintf(weight[i] * factor);
            step[i] = (int)clamped(nearest, -steps, steps);
            value[i] = nearest * scale[o];
        }
    }
}
