#pragma once

namespace mlxk {

/// The text that `convert --check` feeds to both models: prose, a dialogue, other languages, numbers, code and JSON,
/// written for this purpose. Changing it changes every reported drift.
inline constexpr const char* kDriftText =
    R"text(The lighthouse keeper wound the clock every evening at six. It was the only sound in the tower besides the sea, and in forty years he had never once let it stop. When the storm took the telegraph line in November, he wrote the time and the height of the barometer into his book each hour, as if somebody were waiting for it.

"Why do you still write it down?" asked the boy who brought the bread. "Nobody reads it."
"You just did," said the keeper.

Water boils at 100 °C at sea level, but at 3,000 metres it boils near 90 °C, because the pressure there is about 70 % of what it is at the coast. A train that leaves at 14:35 and needs 2 hours and 50 minutes arrives at 17:25.

def mean(values):
    if not values:
        raise ValueError("no values")
    return sum(values) / len(values)

{"name": "pump", "flow": 12.5, "open": true, "tags": ["cold", "north"]}

Am Morgen lag Schnee auf den Dächern, und die Kinder liefen ohne Frühstück hinaus. Le marché ouvre à huit heures et ferme à midi. La puerta estaba abierta, pero no había nadie en la casa.

First, cut the onions and fry them slowly in butter. Second, add the flour and stir until it smells of nuts. Third, pour in the stock, a little at a time, and let it simmer for twenty minutes.)text";

}  // namespace mlxk
