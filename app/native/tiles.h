/* Matrix products in tiles (Intel AMX): TILE_ROWS rows by WIDTH units at a time, a pair of bfloat16 per lane and step.
 *
 * Tiles 0 to 3 hold the running sums of the gates, 4 the factors, 5 to 7 weights. Packed weights are laid out as tiles
 * already: a tile row is K_STEP factors' weights for WIDTH units. Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 1, chapter 18.
 */
#ifndef SENTIMENT_TILES_H
#define SENTIMENT_TILES_H

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILE_ROWS 16
#define TILE_K 32 /* factors in a tile row; K is padded to a multiple */

/* Asks the system for the tile registers, once per process; returns whether this program may use them. */
__attribute__((visibility("default"))) int allow_amx(void) {
    const long request_permission = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

/* From now on products have `rows` rows. Belongs to the thread, so it comes before every step. */
INLINE void use_rows(int64_t rows) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes_per_row[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        config.bytes_per_row[tile] = TILE_K * sizeof(operand_t);
        config.rows[tile] = tile < 5 ? rows : TILE_K / K_STEP;
    }
    _tile_loadconfig(&config);
}

/* products[g][row] = factors[row] . weights[group][.][g] for the rows in use. */
INLINE void multiply_tiles(const int G, const struct rows *rows, int64_t group, float products[][TILE_ROWS][WIDTH]) {
    const operand_t *weights = rows->weights + group * rows->k * G * WIDTH;
    const int64_t bytes = G * WIDTH * K_STEP * sizeof(operand_t), line = WIDTH * sizeof(float);
    _tile_zero(0);
    if (G > 1) {
        _tile_zero(1);
        _tile_zero(2);
    }
    if (G > 3) _tile_zero(3);
    for (int64_t k = 0; k < rows->k; k += TILE_K, weights += G * WIDTH * TILE_K) {
        _tile_loadd(4, rows->factors + k, rows->stride * sizeof(operand_t));
        _tile_loadd(5, weights, bytes);
        _tile_dpbf16ps(0, 4, 5);
        if (G > 1) {
            _tile_loadd(6, weights + WIDTH * K_STEP, bytes);
            _tile_dpbf16ps(1, 4, 6);
            _tile_loadd(7, weights + 2 * WIDTH * K_STEP, bytes);
            _tile_dpbf16ps(2, 4, 7);
        }
        if (G > 3) {
            _tile_loadd(5, weights + 3 * WIDTH * K_STEP, bytes);
            _tile_dpbf16ps(3, 4, 5);
        }
    }
    _tile_stored(0, products[0], line);
    if (G > 1) {
        _tile_stored(1, products[1], line);
        _tile_stored(2, products[2], line);
    }
    if (G > 3) _tile_stored(3, products[3], line);
}

#endif
