# The service provider.
#   docker build -f deploy/containers/service-provider.Dockerfile -t duoveil/service-provider .
# The first stage has a C compiler for the native arithmetic, the last one nothing that is not needed to run.
ARG NODE=20.20.2

FROM node:${NODE}-bookworm AS build
WORKDIR /src
COPY . .
RUN npm ci --workspace @duoveil/service-provider --workspace @duoveil/dashboard --include-workspace-root --ignore-scripts \
 && node common/scripts/build-native.mjs \
 && npx tsc --build service-provider \
 && npm run build --workspace @duoveil/dashboard \
 && npm ci --workspace @duoveil/service-provider --omit dev --ignore-scripts

FROM node:${NODE}-bookworm-slim
ENV NODE_ENV=production
WORKDIR /opt/duoveil
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/proto/package.json ./proto/
COPY --from=build /src/proto/dist ./proto/dist
COPY --from=build /src/common/package.json ./common/
COPY --from=build /src/common/dist ./common/dist
COPY --from=build /src/common/build ./common/build
COPY --from=build /src/dashboard/package.json ./dashboard/
COPY --from=build /src/dashboard/dist ./dashboard/dist
COPY --from=build /src/service-provider/package.json ./service-provider/
COPY --from=build /src/service-provider/dist ./service-provider/dist
RUN install --directory --owner=node --group=node --mode=0700 /var/lib/duoveil
USER node
VOLUME /var/lib/duoveil
EXPOSE 7002 7003 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9464/healthz').then(({ok}) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/duoveil/service-provider/dist/main.js"]
CMD ["serve", "--config", "/etc/duoveil/sp.yaml"]
